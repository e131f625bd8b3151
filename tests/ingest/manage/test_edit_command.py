"""`cbir-ingest delete` and `update`."""

from pathlib import Path

import pytest

from tests.support.ingesting import file_keys, run, some_images, stored_keys, sync


@pytest.fixture
def photos(photo_folder: Path, tmp_path: Path) -> Path:
    """A folder of 12 images that a test may change."""
    return some_images(photo_folder, tmp_path / "photos", 12)


def test_points_are_changed_and_deleted_by_key_and_filter(photos: Path, model_file: Path) -> None:
    sync(photos, model_file)
    store = ("--store", f"faiss:{photos.parent}/index")
    first, second, *_ = sorted(file_keys(photos))
    assert run("update", "season=Winter", "--id", first, "--id", second, *store).stdout == "2 points changed\n"
    for command in (["delete"], ["update", "season=Summer"]):
        refused = run(*command, "--filter", "seasn=Winter", *store, code=2).stderr
        assert "no image has a field 'seasn'. Nearest: season" in refused
        assert "say which points" in run(*command, *store, code=2).stderr
    assert stored_keys(photos) == file_keys(photos)
    assert run("delete", "--filter", "season=Winter", *store).stdout == "2 points removed\n"
    assert stored_keys(photos) == file_keys(photos) - {first, second}
