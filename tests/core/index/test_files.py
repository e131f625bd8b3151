"""Files are written completely or not at all."""

import fcntl
import os
from pathlib import Path

import pytest

from cbir.index.files import files_below, is_locked, link_tree, sizes_below, write_atomically


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for data in (b"one", b"two"):
        write_atomically(path, data)
        assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_is_kept_if_the_new_one_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "a.json"
    write_atomically(path, b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_linked_tree_has_the_same_files(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "folder" / "deep" / "deeper").mkdir(parents=True)
    names = ["b", "c", "folder/a", "folder/deep/deeper/d"]
    for name in names:
        (source / name).write_text(name)
    link_tree(source, target)
    assert [path.relative_to(target).as_posix() for path in files_below(target)] == names
    assert sizes_below(target) == {name: len(name) for name in names}
    assert sizes_below(target / "none") == {}
    assert all(path.samefile(source / path.relative_to(target)) for path in files_below(target))


def test_a_tree_is_linked_into_a_new_folder_of_new_folders(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a").write_text("content")
    link_tree(tmp_path / "source", tmp_path / "new" / "target")
    assert (tmp_path / "new" / "target" / "a").read_text() == "content"


def test_a_file_is_locked_while_another_has_its_exclusive_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_locked(path)
    with path.open("w") as lock:
        for kind, locked in ((fcntl.LOCK_EX, True), (fcntl.LOCK_SH, False), (fcntl.LOCK_UN, False)):
            fcntl.flock(lock, kind)
            assert is_locked(path) is locked


def test_files_are_copied_where_the_file_system_has_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(95, "Operation not supported")

    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a").write_text("content")
    monkeypatch.setattr(os, "link", refuse)
    link_tree(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target" / "a").read_text() == "content"
    assert not (tmp_path / "target" / "a").samefile(tmp_path / "source" / "a")


def test_a_missing_folder_has_no_files(tmp_path: Path) -> None:
    assert list(files_below(tmp_path / "missing")) == []
