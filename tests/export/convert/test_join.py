"""`cbir-export join`: one file with the vectors of several."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cbir.errors import UsageError
from cbir.models.card import Training
from cbir.models.embedder import Embedder
from cbir.models.graph import refusal
from cbir.models.sealed import PACKAGED
from tests.support.exporting import export, read_record

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from cbir.export.convert.model_file import write_model

LITE0 = PACKAGED / "efficientnet_lite0.onnx"


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged model with another crop and with other vectors: its last layer's numbers are turned round."""
    model, card = onnx.load(LITE0), Embedder(LITE0, device="cpu").card
    (last,) = [node for node in model.graph.node if "embeddings" in node.output]
    last.output[0] = "straight"
    for name, value in (("starts", -1), ("ends", -(2**31)), ("axes", 1), ("steps", -1)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([value]), name))
    slices = ["straight", "starts", "ends", "axes", "steps"]
    model.graph.node.append(onnx.helper.make_node("Slice", slices, ["embeddings"], name="turned"))
    path = tmp_path_factory.mktemp("other") / "other.onnx"
    write_model(model, replace(card, name="other", license="MIT", input=replace(card.input, resize=224)), path)
    return path


def test_a_joined_file_embeds_as_all_of_them(other: Path, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "both.onnx"
    export("join", "efficientnet_lite0", other, "-o", path)
    assert "cosine to the joined files: lowest" in capsys.readouterr().out
    (link,) = read_record(path)["links"]
    assert link["agreement"]["cosine_min"] > 0.9999
    first, second, both = (Embedder(file, device="cpu") for file in (LITE0, other, path))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), np.uint8)
    a, b, vectors = first.run(pixels), second.run(pixels), both.run(pixels)
    np.testing.assert_allclose(vectors, np.concatenate([a, b], axis=1) / 2**0.5, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(vectors @ vectors.T, (a @ a.T + b @ b.T) / 2, atol=1e-5)
    card = both.card
    assert (card.name, card.dimension, card.backbone) == ("both", 2560, "efficientnet_lite0 + efficientnet_lite0")
    assert card.license == f"{first.card.license} + MIT"
    assert card.input == first.card.input != second.card.input
    assert refusal(path.read_bytes()) is None, "a joined file passes the check of files from others"


@pytest.mark.export
def test_a_joined_file_has_no_single_backbone_to_be_compared_with(other: Path, tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="the extra `export` is not installed")
    path = tmp_path / "both.onnx"
    export("join", LITE0, other, "-o", path)
    with pytest.raises(UsageError, match="It joins several files: compare each of them with torch"):
        export("verify", path)


def test_files_that_cannot_be_joined(other: Path, tmp_path: Path) -> None:
    path = tmp_path / "both.onnx"
    for names, message in (
        ([LITE0], "Name at least two model files, each only once"),
        ([LITE0, LITE0], "each only once"),
        ([LITE0, "efficientnet_lite0-int8"], r"The precisions of the files differ: fp16, int8"),
        ([LITE0, "nothing"], "no model 'nothing'"),
    ):
        with pytest.raises(UsageError, match=message):
            export("join", *names, "-o", path)
    small, model = tmp_path / "small.onnx", onnx.load(LITE0)
    for dim in model.graph.input[0].type.tensor_type.shape.dim[1:3]:
        dim.dim_value = 192
    card = Embedder(LITE0, device="cpu").card
    write_model(model, replace(card, input=replace(card.input, size=192, resize=192)), small)
    with pytest.raises(UsageError, match="The input sizes of the files differ: 224, 192"):
        export("join", LITE0, small, "-o", path)
    trained = tmp_path / "trained.onnx"
    training = Training("head", "photos", "", ["a", "b"], 70, "70/15/15 by class, seed 1", {})
    write_model(onnx.load(other), replace(Embedder(other, device="cpu").card, training=training), trained)
    with pytest.raises(UsageError, match=r"trained.onnx was trained on photos. Join models as they were published"):
        export("join", LITE0, trained, "-o", path)
    assert not path.exists()
    with pytest.raises(UsageError, match="is an input and would be overwritten"):
        export("join", LITE0, other, "-o", other)
