"""Misuse of `cbir-export head` and `finetune` is found before the training."""

import shutil
from pathlib import Path

import pytest

from cbir.errors import UsageError
from cbir.models.sealed import find_model
from tests.support.exporting import export

pytest.importorskip("torch", reason="the extra `export` is not installed")


pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore")]


def test_an_input_is_not_overwritten(three_classes: Path, tmp_path: Path) -> None:
    model = Path(shutil.copy(find_model("efficientnet_lite0"), tmp_path / "model.onnx"))
    with pytest.raises(UsageError, match="is an input and would be overwritten"):
        export("head", model, three_classes, "-o", model)


def test_a_model_with_a_head_gets_no_second_head(three_classes: Path, tmp_path: Path) -> None:
    model = tmp_path / "with-head.onnx"
    export("head", find_model("efficientnet_lite0"), three_classes, "--epochs", "1", "--dimension", "8", "-o", model)
    with pytest.raises(UsageError, match="already has a trained head"):
        export("head", model, three_classes, "-o", tmp_path / "second.onnx")
