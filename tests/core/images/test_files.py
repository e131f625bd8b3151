"""Image files are read only if they are regular files of a limited size."""

import os
from pathlib import Path

import pytest

from cbir.errors import ImageError
from cbir.images.files import MAX_FILE_BYTES, read_file


def test_a_file_is_read_also_by_its_path_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(b"data")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_file(tmp_path / "a.png") == read_file("~/a.png") == b"data"


def test_a_named_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="not a regular file"):
        read_file(tmp_path / "pipe.png")


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)  # sparse: it takes no space
    with pytest.raises(ImageError, match="too large: 256 MiB, the limit is 256"):
        read_file(tmp_path / "large.png")


@pytest.mark.parametrize("name", ["missing.png", "~no-such-user/a.png"])
def test_a_missing_file_is_an_os_error(name: str) -> None:
    with pytest.raises(FileNotFoundError):
        read_file(name)


def test_an_impossible_name_is_an_image_error() -> None:
    with pytest.raises(ImageError, match="not a valid file name"):
        read_file("a\0.png")
