"""Model files and their parity records."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cbir.errors import CbirError
from cbir.models.embedder import Embedder
from cbir.models.sealed import find_model
from tests.support.exporting import TINY, export, read_record

pytest.importorskip("torch", reason="the extra `export` is not installed")

from cbir.export.convert.build import BuildOptions, default_name
from cbir.export.zoo import BACKBONES, Backbone, InputChoice

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore")]


def test_the_packaged_model_is_what_the_exporter_makes(tmp_path: Path) -> None:
    export("build", "efficientnet_lite0", "-o", tmp_path / "again.onnx")
    packaged, again = Embedder(find_model("efficientnet_lite0")), Embedder(tmp_path / "again.onnx")
    assert replace(packaged.card, exporter={}, to_torch=None) == replace(again.card, exporter={}, to_torch=None)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3), np.uint8)
    assert (packaged.run(pixels) * again.run(pixels)).sum(axis=1).min() >= 0.99999
    if packaged.card.exporter == again.card.exporter and packaged.card.to_torch == again.card.to_torch:
        assert packaged.sha256 == again.sha256


def test_a_build_writes_its_record(fp32_file: Path) -> None:
    card, record = Embedder(fp32_file).card, read_record(fp32_file)
    assert (card.precision, card.random_weights, card.backbone) == ("fp32", False, "efficientnet_lite0")
    assert record["sha256"] == Embedder(fp32_file).sha256
    (link,) = record["links"]
    assert (link["before"], link["after"]) == ("torch", "onnx fp32")
    assert link["agreement"]["cosine_min"] >= 0.9999
    assert link["agreement"]["neighbour_overlap"] >= 0.99
    assert link["agreement"]["images"] >= 64
    assert card.to_torch is not None
    assert card.to_torch.cosine_min == link["agreement"]["cosine_min"]


def test_an_inaccurate_int8_file_is_refused_unless_forced(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "tiny.onnx"
    arguments = ("build", TINY, "--weights", "random", "--precision", "int8", "-o", path)
    with pytest.raises(CbirError, match="int8 file differs from torch: .*expected at least .*--force"):
        export(*arguments)
    assert list(tmp_path.iterdir()) == []
    export(*arguments, "--force")
    assert read_record(path)["forced"] is True
    assert "differs too much from torch" in capsys.readouterr().err
    card = Embedder(path).card
    assert (card.random_weights, card.weights, card.backbone) == (True, "random:0", TINY)


def test_the_default_name_tells_builds_apart() -> None:
    resnet = BACKBONES["resnet18"]
    other = Backbone("timm:test_vit.r160_in1k", "test_vit.r160_in1k", "unknown")
    options = BuildOptions("my/own.pth", "int8", InputChoice("pad", 288))
    assert default_name(resnet, BuildOptions()) == default_name(resnet, BuildOptions("hub")) == "resnet18"
    assert default_name(resnet, options) == "resnet18-own-pad-288-int8"
    assert default_name(other, BuildOptions("random")) == "test_vit.r160_in1k-random"
