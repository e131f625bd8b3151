"""Copies of stored images."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from cbir.pipeline.run import Policy
from tests.support.ingesting import files, run, some_images, sync


@pytest.fixture
def photos(photo_folder: Path, tmp_path: Path) -> Path:
    """A folder of 12 images that a test may change."""
    return some_images(photo_folder, tmp_path / "photos", 12)


def test_copies_are_counted_and_left_out_if_asked(photos: Path, model_file: Path) -> None:
    original = files(photos)[4]
    (photos / "zz").mkdir()
    shutil.copyfile(original, photos / "zz" / "copy.png")
    Image.open(original).convert("RGB").resize((200, 200)).save(photos / "zz" / "like it.jpg", quality=80)
    exact = sync(photos, model_file)
    assert (exact.stored, exact.duplicates) == (14, 1)
    shutil.rmtree(photos.parent / "index")
    summary = sync(photos, model_file, Policy(skip_duplicates=True, near_duplicates=4))
    name = original.relative_to(photos).as_posix()
    assert summary.duplicates == 2
    assert {(one["key"], one["original"]) for one in summary.copies} == {
        ("zz/copy.png", name),
        ("zz/like it.jpg", name),
    }
    assert (summary.stored, summary.skipped) == (12, 2)
    again = sync(photos, model_file, Policy(skip_duplicates=True, near_duplicates=4))
    assert (again.stored, again.skipped, again.unchanged) == (0, 2, 12)
    groups = json.loads(run("duplicates", "--store", f"faiss:{photos.parent}/index", "--near", 4, "--json").stdout)
    assert groups == []
