"""`cbir-ingest delete` and `update`."""

import io
from pathlib import Path

import pytest

from tests.support.ingesting import file_keys, files, run, some_images, stored_keys, sync


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
    assert run("delete", "--filter", "season=Winter", "--yes", *store).stdout == "2 points removed\n"
    assert stored_keys(photos) == file_keys(photos) - {first, second}


def test_a_filter_deletes_only_what_was_confirmed(
    photos: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync(photos, model_file)
    label = files(photos)[0].parent.name
    delete = ("delete", "--filter", f"label={label}", "--store", f"faiss:{photos.parent}/index")
    matching = len(list((photos / label).iterdir()))
    for answer in (None, "n\n"):
        if answer:
            monkeypatch.setattr("sys.stdin", terminal_saying(answer))
        refused = run(*delete, code=2)
        assert f"{matching} of 12 images match 'label={label}'. Nothing was deleted; add --yes" in refused.stderr
        assert stored_keys(photos) == file_keys(photos)
    monkeypatch.setattr("sys.stdin", terminal_saying("y\n"))
    answered = run(*delete).stdout
    assert f"{matching} of 12 images match" in answered
    assert f"{matching} points removed" in answered
    assert len(stored_keys(photos)) == 12 - matching


def terminal_saying(answer: str) -> io.StringIO:
    """Return a standard input that is a terminal at which the user types an answer."""
    typed = io.StringIO(answer)
    typed.isatty = lambda: True  # type: ignore[method-assign]
    return typed
