"""Images that are decoded once."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="the extra `export` is not installed")

from cbir.export.train import images as training_images
from cbir.export.train.images import TrainingImages, prepare_images

from cbir.errors import CbirError, DiskFullError, UsageError
from cbir.evaluation.embeddings import open_labelled
from cbir.images.preprocessing import InputRule
from cbir.sources.base import SourceOptions

pytestmark = pytest.mark.export

RULE = InputRule(32, 36)


@pytest.fixture
def photos(coloured: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(coloured, tmp_path / "photos"))


def prepare(photos: Path, folder: Path, rule: InputRule = RULE) -> TrainingImages:
    folder.mkdir(exist_ok=True)
    return prepare_images(open_labelled(str(photos), SourceOptions())[1], rule, folder, 40.0)


def test_the_centre_of_the_stored_pixels_is_the_input_of_the_model(photos: Path, tmp_path: Path) -> None:
    found = prepare(photos, tmp_path / "work")
    assert found.pixels.shape == (72, 36, 36, 3)
    assert found.labels == ["blue"] * 24 + ["green"] * 24 + ["red"] * 24
    expected = RULE.pixels(Image.open(photos / "blue" / "00.png"))
    assert np.abs(found.pixels[0, 2:34, 2:34].astype(int) - expected).max() <= 2  # rounding


def test_nothing_is_decoded_again(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare(photos, tmp_path / "work")
    monkeypatch.setattr(training_images, "decode", lambda *arguments: pytest.fail("an image is decoded again"))
    again = prepare(photos, tmp_path / "work")
    assert np.array_equal(first.pixels, again.pixels)
    assert (first.labels, first.sha256) == (again.labels, again.sha256)


def test_a_file_that_was_not_finished_is_written_again(photos: Path, tmp_path: Path) -> None:
    first = prepare(photos, tmp_path / "work")
    expected = np.array(first.pixels)
    (tmp_path / "work" / "images.json").unlink()
    (tmp_path / "work" / "pixels.u8").write_bytes(b"half")
    assert np.array_equal(prepare(photos, tmp_path / "work").pixels, expected)


@pytest.mark.parametrize("name", ["pixels.u8", "images.json"])
def test_damaged_files_are_one_line(name: str, photos: Path, tmp_path: Path) -> None:
    prepare(photos, tmp_path / "work")
    path = tmp_path / "work" / name
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CbirError, match=rf"{name} is damaged. Start anew with --restart"):
        prepare(photos, tmp_path / "work")


@pytest.mark.parametrize("change", ["content", "key", "label", "count"])
def test_changed_images_are_refused(change: str, photos: Path, tmp_path: Path) -> None:
    before = prepare(photos, tmp_path / "work").sha256
    path = photos / "red" / "00.png"
    if change == "content":
        shutil.copyfile(photos / "red" / "01.png", path)
    elif change == "key":
        path.rename(photos / "red" / "00-new.png")
    elif change == "label":
        path.rename(photos / "blue" / "77.png")
    else:
        path.unlink()
    with pytest.raises(UsageError, match=rf"have changed since .*72 then, 7[12] now.*{before[:12]}.*--restart"):
        prepare(photos, tmp_path / "work")


def test_unusable_images_are_left_out_and_the_first_is_named(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (3, 4):
        (photos / "red" / f"{number:02d}.png").write_bytes(b"no image")
    found = prepare(photos, tmp_path / "work")
    assert (len(found.labels), found.labels.count("red")) == (70, 22)
    (line,) = caplog.messages
    assert line == "2 images cannot be used and are left out, such as red/03.png: not an image of a known format"
    assert prepare(photos, tmp_path / "work").labels == found.labels
    for path in photos.rglob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(UsageError, match="None of the 72 images can be used. The first: blue/00.png"):
        prepare(photos, tmp_path / "other")


def test_pixels_that_do_not_fit_on_the_disk_are_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(DiskFullError, match=r"need .* GB in .*work.*smaller --size or --limit"):
        prepare(photos, tmp_path / "work", InputRule(10**6, 10**6))
