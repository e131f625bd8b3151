"""Model files that are written field by field."""

from pathlib import Path

import numpy as np

from cbir.models.graph import refusal
from tests.support.onnx_file import DIMENSION, SIDE, cast, field, node, tensor, write_model


def test_a_field_is_one_of_protobuf() -> None:
    assert field(1, 300) == b"\x08\xac\x02"
    assert field(2, "testing") == b"\x12\x07testing"


def test_a_written_model_runs_as_its_nodes_say(tmp_path: Path) -> None:
    import onnxruntime

    nodes = [cast("images", "floats"), node("Mul", "floats two", "twice"), node("Flatten", "twice", "embeddings")]
    path = write_model(tmp_path / "made.onnx", nodes, [tensor("two", np.array([2], np.float32))])
    assert refusal(path.read_bytes()) is None
    pixels = np.arange(DIMENSION, dtype=np.uint8).reshape(1, SIDE, SIDE, 3)
    (found,) = onnxruntime.InferenceSession(path).run(None, {"images": pixels})
    assert found.tolist() == [(2.0 * np.arange(DIMENSION)).tolist()]
