"""Folders of this machine."""

import inspect
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from cbir.errors import ImageError, UsageError
from cbir.images.files import read_file
from cbir.records import full_payload, point_id
from cbir.sources.base import SourceOptions
from cbir.sources.folder import open_folder
from cbir.sources.registry import open_source


def test_a_folder_that_cannot_be_listed_is_an_item_that_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def scandir(path: str) -> Any:
        if str(path).endswith("blue"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    items = {item.key: item for item in open_source(str(folder), SourceOptions()).items}
    assert set(items) == {"red/a.jpg", "red/b.jpg", "green/d.jpg", "blue"}
    with pytest.raises(ImageError, match="cannot list this folder: Permission denied"):
        items["blue"].read()


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="not a regular file"):
        read_file(tmp_path / "pipe.jpg")
    with pytest.raises(OSError, match="No such file"):
        read_file(tmp_path / "gone.jpg")


def test_names_of_every_kind(tmp_path: Path) -> None:
    names = [b"new\nline.jpg", b"\xff\xfe.jpg", b"quote'\".jpg", b"-rf.jpg", b"100%.jpg", b"\x1b[31m.jpg", b" .jpg"]
    folder = os.fsencode(tmp_path) + b"/fol\nder\xff"
    os.mkdir(folder)  # noqa: PTH102
    for name in names:
        with open(folder + b"/" + name, "wb") as file:  # noqa: PTH123
            file.write(name)
    for root in (str(tmp_path), os.fsdecode(folder)):
        source = open_source(root, SourceOptions())
        assert {item.read() for item in source.items} == set(names)
        assert len({point_id("x", item.key) for item in source.items}) == len(names)
        for item in source.items:
            assert full_payload(item, "")["key"].encode().endswith(b".jpg")
        parts = [open_source(root, SourceOptions(shard=(number, 2))).total or 0 for number in (1, 2)]
        assert sum(parts) == len(names)
        source.name.encode()
        source.origin.encode()


def test_links_and_pipes(tmp_path: Path) -> None:
    root, outside = tmp_path / "tree", tmp_path / "outside"
    for folder in (root / "real", outside):
        folder.mkdir(parents=True)
    (root / "real" / "a.jpg").write_bytes(b"a")
    (outside / "b.jpg").write_bytes(b"b")
    (root / "linked.jpg").symlink_to(outside / "b.jpg")
    (root / "loop.jpg").symlink_to("loop.jpg")
    (root / "nothing.jpg").symlink_to("nowhere")
    (root / "folder.jpg").symlink_to(outside)
    (root / "round").symlink_to(".")
    (root / "away").symlink_to(outside)
    os.mkfifo(root / "pipe.jpg")
    items = {item.key: item for item in open_source(str(root), SourceOptions()).items}
    assert items["real/a.jpg"].read() == b"a"
    assert items["linked.jpg"].read() == b"b"
    bad = {
        "loop.jpg": "symbolic links",
        "nothing.jpg": "No such",
        "folder.jpg": "directory",
        "pipe.jpg": "regular file",
    }
    assert set(items) == {"real/a.jpg", "linked.jpg", *bad}
    for key, reason in bad.items():
        assert items[key].version == ""
        with pytest.raises((ImageError, OSError), match=reason):
            items[key].read()


def test_a_tree_deeper_than_pythons_stack(tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*["d"] * 200)
    folder.mkdir(parents=True)
    (folder / "x.jpg").touch()
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        (item,) = open_source(str(tmp_path), SourceOptions()).items
    finally:
        sys.setrecursionlimit(limit)
    assert item.key == f"{'d/' * 200}x.jpg"


def test_the_images_of_a_tree_that_goes_away_cannot_be_read(tmp_path: Path) -> None:
    """They are not gone from the source; a sync would delete them otherwise."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a.jpg").touch()
    source = open_source("tree", SourceOptions())
    (tmp_path / "tree").rename(tmp_path / "away")
    (item,) = source.items
    assert (item.key, item.version) == ("a.jpg", "")
    with pytest.raises(FileNotFoundError):
        item.read()
    with pytest.raises(UsageError, match="tree does not exist"):
        open_source("tree", SourceOptions())


def test_what_comes_after_the_listing_is_of_the_next_one(tmp_path: Path) -> None:
    """Count and items are of the same moment, whatever happens between them."""
    (tmp_path / "a.jpg").write_bytes(b"a")
    source = open_source(str(tmp_path), SourceOptions())
    (tmp_path / "b.jpg").write_bytes(b"b")
    (tmp_path / "a.jpg").write_bytes(b"longer")
    (item,) = source.items
    assert source.total == 1
    assert item.version.startswith("6:"), "the version is of when the item was made"


def test_some_files_and_folders_are_the_same_items_as_in_the_whole(folder: Path) -> None:
    whole = {item.key: item for item in open_source(str(folder), SourceOptions()).items}
    (folder / "link").symlink_to(folder / "red")
    only = frozenset({"red/a.jpg", "red/gone.jpg", "green", "green/d.jpg", "link/a.jpg", "gone/b.jpg"})
    source = open_source(str(folder), SourceOptions(only=only))
    assert {item.key: item.version for item in source.items} == {
        key: item.version for key, item in whole.items() if key == "red/a.jpg" or key.startswith("green/")
    }
    assert {item.label for item in source.items} == {"red", "green"}
    assert source.only == only
    assert not list(open_source(str(folder), SourceOptions(only=frozenset({"gone"}))).items)


def test_some_files_of_a_folder_that_is_gone_are_not_taken_for_removed(folder: Path) -> None:
    folder.rename(folder.with_name("away"))
    with pytest.raises(UsageError):
        open_folder(str(folder), SourceOptions(only=frozenset({"red/a.jpg"})))
