"""The worker of other libraries: the model file that fastembed is given, and what is said of a missing library."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cbir.bench.embedding import worker
from cbir.bench.embedding.worker import refit, run

from cbir.models.embedder import Embedder


def test_the_model_that_fastembed_is_given_is_the_same_function(
    embedder: Embedder, folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnx")
    import onnxruntime

    card = embedder.card
    refit(str(embedder.path), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    files = sorted(folder.glob("*.png"))[:3]
    pixels = np.stack(
        [embedder.pixels(embedder.decode(file.read_bytes(), 40)) for file in files if file.stem != "broken"]
    )
    mean, std = (np.array(values, np.float32).reshape(3, 1, 1) for values in (card.mean, card.std))
    planes = (pixels.transpose(0, 3, 1, 2).astype(np.float32) / 255 - mean) / std
    (found,) = session.run(None, {session.get_inputs()[0].name: planes})
    np.testing.assert_allclose(found, embedder.run(pixels), atol=1e-5)


def test_a_graph_that_takes_pixels_as_they_are_is_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    node = helper.make_node("Transpose", ["images"], ["planes"], perm=[0, 3, 1, 2])
    takes = helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", 4, 4, 3])
    gives = helper.make_tensor_value_info("planes", TensorProto.UINT8, ["batch", 3, 4, 4])
    graph = helper.make_graph([node], "pixels", [takes], [gives])
    onnx.save(helper.make_model(graph), tmp_path / "in.onnx")
    with pytest.raises(ValueError, match="int8"):
        refit(str(tmp_path / "in.onnx"), tmp_path / "out.onnx")


@pytest.mark.parametrize(("name", "module"), [("torch", "timm"), ("sentence-transformers", "sentence_transformers")])
def test_a_missing_library_is_named(name: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    job = {"name": name, "backbone": "resnet18", "folder": "", "input": {}, "settings": {"batch_size": 1}, "seconds": 1}
    assert module in run(job)["missing"]


def test_a_window_has_batches_enough_however_slow_a_library_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(job: dict[str, Any], is_over: Callable[[], bool]) -> Iterator[int]:
        while not is_over():
            yield 3

    monkeypatch.setitem(worker.LIBRARIES, "slow", worker.Library(slow))
    found = run({"name": "slow", "seconds": 0})
    assert found["images"] == 3 * worker.LEAST_BATCHES, "the first batch does not count"
    assert run({"name": "slow", "seconds": 0.2})["seconds"] >= 0.2


@pytest.mark.parametrize("decode", [False, True])
def test_the_model_alone_runs_over_whole_batches(decode: bool, folder: Path, model_file: Path, tmp_path: Path) -> None:
    for path in sorted(folder.glob("*.png"))[:6]:
        if path.stem != "broken":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    settings = {"workers": 1, "threads": 1, "batch_size": 2, "device": "cpu"}
    job = {"name": "cbir", "model": str(model_file), "images": str(tmp_path), "decode": decode, "settings": settings}
    found = run({**job, "seconds": 0.1})
    assert found["images"] >= 2
    assert found["seconds"] >= 0.1 and found["core_seconds"] > 0
