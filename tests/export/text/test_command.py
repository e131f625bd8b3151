"""`cbir-export text-head`."""

from pathlib import Path
from typing import Any

import pytest

from cbir.errors import UsageError
from cbir.models.embedder import Embedder
from cbir.models.sealed import packaged_files
from cbir.models.text_tower import TextTower, belongs_to
from tests.support.examples import SampleImages
from tests.support.exporting import export

pytest.importorskip("transformers", reason="the extra `export` is not installed")

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore")]

MODEL = "efficientnet_lite0"


@pytest.fixture
def captions(sample_images: SampleImages, tmp_path: Path) -> tuple[Path, Path]:
    """A folder of 60 images, and a file with their captions, which are their classes."""
    folder = tmp_path / "images"
    folder.mkdir()
    lines = ["image,caption"]
    for key, label, data in sample_images[:60]:
        (folder / f"{key}.png").write_bytes(data)
        lines.append(f"{key}.png,{label} {key}")
    file = tmp_path / "captions.csv"
    file.write_text("\n".join(lines))
    return folder, file


def test_a_tower_is_learned_for_all_files_of_a_packaged_model(
    captions: tuple[Path, Path], tmp_path: Path, capsys: Any
) -> None:
    folder, file = captions
    path = tmp_path / "mine-text.onnx"
    options = ("--captions", file, "--epochs", 2, "--hidden", 8, "--no-classes", "-o", path)
    export("text-head", MODEL, folder, *options)
    printed = capsys.readouterr().out
    assert "mine-text.onnx: learned from " in printed
    assert " images that it did not learn from: text to image recall at 1 " in printed
    for model in packaged_files(MODEL).values():
        assert belongs_to(path, Embedder(model).sha256)
    training = TextTower(path).card.training
    assert training is not None
    assert (training.caption, training.seed) == ("captions.csv", 42)
    assert folder.name in training.data


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Name the column of the captions with --caption, or a file of captions with --captions"),
        (("--caption", "title", "-o", "nowhere/m.onnx"), "its folder does not exist"),
        (("--caption", "title", "-o", "m.bin"), "must end in .onnx"),
        (("--caption", "title", "--encoder", "."), "has no model.safetensors"),
        (("--caption", "title"), "has no captions in the column title"),
    ],
)
def test_misuse_is_one_line(arguments: tuple[str, ...], message: str, captions: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        export("text-head", MODEL, captions[0], *arguments)
    assert "\n" not in str(caught.value)


def test_the_image_model_is_not_overwritten(captions: tuple[Path, Path], fp32_file: Path) -> None:
    with pytest.raises(UsageError, match="is an input and would be overwritten"):
        export("text-head", fp32_file, captions[0], "--captions", captions[1], "-o", fp32_file)
