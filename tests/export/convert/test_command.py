"""`cbir-export build`."""

from pathlib import Path
from typing import Any

import pytest
import typer

from cbir.errors import UsageError
from cbir.images.decode import decode
from cbir.models.embedder import Embedder
from tests.support.exporting import TINY, export
from tests.support.golden_image import golden_image

pytest.importorskip("torch", reason="the extra `export` is not installed")


pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore")]


def test_any_model_of_timm_is_built_with_other_sizes_and_crops(tmp_path: Path, capsys: Any) -> None:
    options = ("--weights", "random", "--crop", "pad", "--size", "96", "--precision", "fp32")
    export("build", TINY, "timm:test_resnet", *options, "-o", tmp_path)
    names = {"test_vit.r160_in1k-pad-96-fp32-random", "test_resnet-pad-96-fp32-random"}
    assert {path.stem for path in tmp_path.glob("*.onnx")} == names
    assert "random weights" in capsys.readouterr().err
    for path in tmp_path.glob("*.onnx"):
        embedder = Embedder(path)
        assert (embedder.card.input.size, embedder.card.input.crop) == (96, "pad")
        assert embedder.embed([decode(golden_image())]).shape == (1, embedder.card.dimension)
        export("verify", path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing",), "Unknown backbone: 'nothing'. Use one of resnet18"),
        (("timm:efficientnet",), "timm has no model 'efficientnet'. Similar names: "),
        (("timm:no_such_family",), "timm has no model 'no_such_family'. timm.list_models"),
        (("timm:resnet18.nothing",), "timm has no weights 'nothing' for resnet18. Available: "),
        (("timm:resnet18.",), "timm has no weights '' for resnet18"),
        (("efficientnet_lite0", "--calibrate", "x"), "--calibrate has no effect on fp16"),
        (("efficientnet_lite0", "--force"), "--force has no effect on fp16"),
        (("efficientnet_lite0", "-o", "nowhere/m.onnx"), "its folder does not exist"),
        (("efficientnet_lite0", "-o", "m.bin"), "must end in .onnx"),
        ((TINY, "--weights", "random", "--size", "97"), "does not accept an input of 97 pixels"),
        (("efficientnet_lite0", "--precision", "int8", "--calibrate", "nowhere"), "nowhere"),
        (("resnet18", "resnet18"), "would be written to the same file"),
    ],
)
def test_misuse_is_reported_in_one_line(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message) as caught:
        export("build", *arguments)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [("--precision", "fp8"), ("--crop", "round"), ("--size", "8")])
def test_a_value_that_does_not_exist_is_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(typer.BadParameter, match="is not one of|32"):
        export("build", "efficientnet_lite0", *arguments)
