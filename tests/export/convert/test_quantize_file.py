"""`cbir-export quantize`, and the packaged int8 file that it made."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cbir.errors import CbirError, UsageError
from cbir.models.card import ModelCard
from cbir.models.embedder import Embedder
from cbir.models.graph import refusal
from cbir.models.runtime import open_session
from cbir.models.sealed import PACKAGED, find_model, read_sealed
from tests.export.convert.test_rounding import RNG, model
from tests.support.exporting import export, read_record
from tests.support.text_file import text_card, write_tower

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from cbir.export.convert.model_file import write_model
from cbir.export.convert.parity import compare_vectors, sample_images
from onnx import helper, numpy_helper

INT8 = PACKAGED / "efficientnet_lite0-int8.onnx"


@pytest.fixture(scope="module")
def card() -> ModelCard:
    return Embedder(find_model("efficientnet_lite0"), device="cpu").card


@pytest.fixture(scope="module")
def small(card: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file of three convolutions with random weights, from 16 x 16 pixels to 24 numbers."""
    stem = (RNG.normal(size=(8, 3, 3, 3)) / 500, {"strides": [2, 2]})
    made = model(stem, (RNG.normal(size=(8, 1, 3, 3)), {"group": 8}), (RNG.normal(size=(24, 8, 1, 1)), {}))
    last = made.graph.output[0].name
    made.graph.initializer.append(numpy_helper.from_array(np.array([2, 3]), "axes"))
    made.graph.node.append(helper.make_node("ReduceMean", [last, "axes"], ["means"], keepdims=0))
    made.graph.node.append(helper.make_node("LpNormalization", ["means"], ["embeddings"], axis=1, p=2))
    made.graph.output[0].CopyFrom(helper.make_tensor_value_info("embeddings", onnx.TensorProto.FLOAT, ["n", 24]))
    path = tmp_path_factory.mktemp("small") / "small.onnx"
    own = replace(card, name="small", dimension=24, input=replace(card.input, size=16, resize=18), precision="fp32")
    write_model(made, own, path)
    return path


def test_the_packaged_int8_file_is_efficientnet_lite0_in_int8(card: ModelCard) -> None:
    embedder, record = Embedder(INT8, device="cpu"), read_record(INT8)
    unchanged = replace(embedder.card, precision=card.precision, exporter=card.exporter, to_torch=card.to_torch)
    assert (embedder.card.precision, unchanged) == ("int8", card)
    assert record["sha256"] == embedder.sha256  # so it is not tried before its first run
    assert refusal(read_sealed(INT8)) is None
    assert INT8.stat().st_size < 4.2e6
    kinds = [node.op_type for node in onnx.load(INT8).graph.node]
    assert kinds.count("Conv") == 48
    assert kinds.count("QuantizeLinear") > 50


def test_the_packaged_int8_file_finds_the_neighbours_of_fp32() -> None:
    """On images that it was not calibrated with, and also where int8 needs onnxruntime's exact kernels."""
    reference, embedder = (Embedder(find_model(name), device="cpu") for name in ("efficientnet_lite0", str(INT8)))
    images = sample_images(128, 0.7)
    expected, vectors = (model.embed(images.files) for model in (reference, embedder))
    agreement = compare_vectors(expected, vectors, images.labels)
    assert agreement.cosine_min >= 0.99
    assert agreement.cosine_p50 >= 0.997
    assert agreement.neighbour_overlap >= 0.93
    assert abs(agreement.precision_at_5_change or 0) <= 0.02


def test_the_packaged_int8_file_is_right_without_vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    data, pixels = read_sealed(INT8), RNG.integers(0, 256, (4, 224, 224, 3), np.uint8)
    usual = open_session(data, "cpu", 1).run(None, {"images": pixels})[0]
    monkeypatch.setattr("cbir.models.runtime.int8_overflows", lambda: True)
    exact = open_session(data, "cpu", 1).run(None, {"images": pixels})[0]
    assert (usual * exact).sum(axis=1).min() >= 0.999


def test_a_model_file_is_quantized(small: Path, tmp_path: Path, capsys: Any) -> None:
    export("quantize", small, "-o", tmp_path / "fast.onnx")
    embedder, record = Embedder(tmp_path / "fast.onnx", device="cpu"), read_record(tmp_path / "fast.onnx")
    assert (embedder.card.name, embedder.card.precision) == ("small", "int8")
    assert {"cbir", "torch", "onnx", "onnxruntime"} <= embedder.card.exporter.keys()
    (link,) = record["links"]
    assert (link["before"], link["after"], record["forced"]) == ("onnx fp32", "onnx int8", False)
    assert record["calibration"] == "sample://openmoji"
    assert embedder.card.to_torch is not None
    assert embedder.card.to_torch.cosine_p50 == link["agreement"]["cosine_p50"] >= 0.99
    assert f"cosine to {small}: lowest" in capsys.readouterr().out
    made = onnx.load(tmp_path / "fast.onnx").graph
    by_output = {name: node for node in made.node for name in node.output}
    convolutions = [node for node in made.node if node.op_type == "Conv"]
    in_int8 = [by_output.get(node.input[1]) is not None for node in convolutions]
    assert in_int8 == [False, False, True]  # the stem and the depthwise convolution after it stay in fp32


def test_an_inaccurate_file_is_refused_unless_forced(
    small: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cbir.export.convert.parity.LIMITS", {"int8": {"cosine_p50": 1.1}})
    path = tmp_path / "fast.onnx"
    with pytest.raises(CbirError, match="int8 file differs from .*small.onnx: cosine p50 .*--force"):
        export("quantize", small, "-o", path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("cbir.export.convert.model_file.LIMITS", {"int8": {"cosine_p50": 1.1}})
    export("quantize", small, "-o", path, "--force")
    assert read_record(path)["forced"] is True
    assert "differs too much from" in capsys.readouterr().err


def test_misuse_is_reported_in_one_line(small: Path, tmp_path: Path) -> None:
    before = small.read_bytes()
    for arguments, message in (
        ((INT8, "-o", tmp_path / "a.onnx"), "is an int8 file already"),
        ((small, "-o", small), "is an input and would be overwritten"),
        (("nothing", "-o", tmp_path / "a.onnx"), "no model 'nothing'"),
        (("efficientnet_lite0", "-o", tmp_path / "a.bin"), "must end in .onnx"),
        (("efficientnet_lite0", "-o", tmp_path / "a.onnx", "--calibrate", "nowhere"), "nowhere"),
    ):
        with pytest.raises(UsageError, match=message) as caught:
            export("quantize", *arguments)
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [] and small.read_bytes() == before


def test_it_needs_no_torch_and_says_that_it_needs_onnx(small: Path, tmp_path: Path) -> None:
    def run(blocked: str) -> Any:
        code = (
            f"import sys; sys.modules[{blocked!r}] = None\n"
            "from cbir.export.command import main\n"
            f"sys.argv = ['cbir-export', 'quantize', {str(small)!r}, '-o', {str(tmp_path / 'a.onnx')!r}]\nmain()"
        )
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)

    without = run("onnx")
    assert (without.returncode, without.stderr.count("\n")) == (2, 1)
    assert "needs the package onnx" in without.stderr
    done = run("torch")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "a.parity.json").read_text())["model"] == "small"


def test_the_text_tower_of_a_model_belongs_to_its_int8_file_too(small: Path, tmp_path: Path) -> None:
    source = tmp_path / "small.onnx"
    source.write_bytes(small.read_bytes())
    write_tower(tmp_path / "small-text.onnx", text_card((Embedder(source, device="cpu").sha256,), dimension=24))
    export("quantize", source, "-o", tmp_path / "fast.onnx", "--force")
    embedder = Embedder(tmp_path / "fast.onnx", device="cpu", cache=tmp_path / "cache")
    assert embedder.text_tower.path == tmp_path / "fast-text.onnx"
