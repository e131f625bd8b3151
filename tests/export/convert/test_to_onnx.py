"""The exported graph, and the reduction of its weights to fp16."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cbir.errors import CbirError
from cbir.images.decode import decode
from cbir.models.embedder import Embedder
from tests.support.golden_image import golden_image

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")

import onnxruntime
from cbir.export.backbone import load_backbone
from cbir.export.convert import model_file, to_onnx
from cbir.export.graph import with_fp16_weights
from cbir.export.zoo import find_backbone
from onnx import TensorProto

from tests.support.exporting import TINY

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def loaded() -> object:
    return load_backbone(find_backbone(TINY), "random")


@pytest.fixture(scope="module")
def graph(loaded: Any) -> Any:
    return to_onnx.export(loaded)


def _vectors(model: Any, pixels: Any) -> Any:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": pixels})[0]


def test_the_graph_returns_the_vectors_of_torch_for_any_batch(loaded: Any, graph: Any) -> None:
    pixels = np.stack([loaded.rule.pixels(decode(golden_image()))] * 3)
    with torch.inference_mode():
        expected = to_onnx.Embedding(loaded)(torch.from_numpy(pixels)).numpy()
    np.testing.assert_allclose(_vectors(graph, pixels), expected, atol=1e-5)
    np.testing.assert_allclose(_vectors(graph, pixels[:1]), expected[:1], atol=1e-5)


def test_the_graph_does_not_name_files_of_this_machine(graph: Any) -> None:
    assert str(Path(to_onnx.__file__).parent).encode() not in graph.SerializeToString()
    assert not any(node.doc_string or node.metadata_props for node in graph.graph.node)


def test_fp16_weights_are_half_as_large_and_give_the_same_vectors(loaded: Any, graph: Any) -> None:
    small = with_fp16_weights(graph)
    assert small.ByteSize() < 0.6 * graph.ByteSize()
    kinds = {tensor.data_type for tensor in small.graph.initializer if len(tensor.dims) > 1}
    assert kinds == {TensorProto.FLOAT16}
    pixels = loaded.rule.pixels(decode(golden_image()))[None]
    assert float((_vectors(small, pixels) * _vectors(graph, pixels)).sum()) >= 0.9999


def test_a_written_file_is_sealed_and_has_its_card(loaded: Any, graph: Any, tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"
    checksum = model_file.write_model(graph, to_onnx.card_for(loaded, "tiny", "fp32"), path)
    embedder = Embedder(path)
    assert embedder.sha256 == checksum
    assert (embedder.card.name, embedder.card.backbone, embedder.card.random_weights) == ("tiny", TINY, True)
    assert [file.name for file in tmp_path.iterdir()] == ["tiny.onnx"]


def test_a_model_that_is_too_large_for_a_file_is_refused(
    loaded: Any, graph: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_file, "MAX_BYTES", 2**24 + 1000)
    with pytest.raises(CbirError, match="An ONNX file holds up to 2 GB"):
        model_file.write_model(graph, to_onnx.card_for(loaded, "tiny", "fp32"), tmp_path / "tiny.onnx")
    assert list(tmp_path.iterdir()) == []
