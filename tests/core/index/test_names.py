"""Names of collections become names of folders."""

from pathlib import Path

import pytest

from cbir.index.names import check_collection, collection_name
from tests.support.ingesting import some_images


@pytest.fixture
def photos(photo_folder: Path, tmp_path: Path) -> Path:
    """A folder of 24 images that a test may change."""
    return some_images(photo_folder, tmp_path / "photos", 24)


def test_collection_names_are_safe() -> None:
    assert collection_name("my photos/2024", "m") == "my_photos_2024-m"
    assert collection_name("../..", "m") == "_..-m"
    assert collection_name("фото", "m") == "фото-m"
    assert len(collection_name("ф" * 300, "m").encode()) <= 200
    for name in (collection_name("../..", "m"), collection_name("", ""), collection_name("ф" * 300, "m")):
        check_collection(name)
