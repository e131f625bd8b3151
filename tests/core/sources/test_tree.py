"""Folder trees, here and in a bucket: every image once, in order, and each folder listed once."""

import os
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from cbir.errors import CbirError, ImageError, UsageError
from cbir.pipeline.run import ingest
from cbir.settings import Settings
from cbir.sources.base import Source, SourceOptions
from cbir.sources.registry import open_source
from cbir.sources.tree import Entry, Tree
from tests.core.sources.conftest import TREE
from tests.support.building import catalogs

IN_ORDER = ["b.jpg", "z.tif", "A/x.jpeg", "a/10.jpg", "a/2.PNG", "a/b/c/deep.webp", "a b/ü.gif"]


def keys(source: Source) -> list[str]:
    return [item.key for item in source.items]


def test_every_image_once_in_order(tree: str) -> None:
    source = open_source(tree, SourceOptions())
    order = sorted(IN_ORDER, key=lambda key: [(part != key.split("/")[-1], part) for part in key.split("/")])
    assert keys(source) == keys(source) == order
    assert sorted(order) == sorted(TREE)
    assert [item.read().decode() for item in source.items] == order
    assert {item.key: item.label for item in source.items}["a/b/c/deep.webp"] == "c"
    assert {item.key: item.label for item in source.items}["b.jpg"] is None
    assert all(item.version for item in source.items)
    assert (source.name, source.complete, source.unique_keys) == ("tree", True, True)
    assert (source.total, source.other_files) == (len(TREE), 2), "a/notes.txt and jpg; hidden files do not count"


def test_a_version_changes_with_the_content(tree: str) -> None:
    before = {item.key: item.version for item in open_source(tree, SourceOptions()).items}
    with fsspec.open(f"{tree}/b.jpg", "wb") as file:
        file.write(b"more than before")
    after = {item.key: item.version for item in open_source(tree, SourceOptions()).items}
    assert [key for key in before if before[key] != after[key]] == ["b.jpg"]


def test_options_choose(tree: str) -> None:
    every = keys(open_source(tree, SourceOptions()))
    assert keys(open_source(tree, SourceOptions(limit=3))) == every[:3]
    assert keys(open_source(tree, SourceOptions(top_classes=1))) == ["a/10.jpg", "a/2.PNG"]
    shards = [open_source(tree, SourceOptions(shard=(number, 3))) for number in (1, 2, 3)]
    assert sorted(key for shard in shards for key in keys(shard)) == sorted(every)
    assert not any(shard.complete for shard in shards)


@pytest.mark.parametrize(
    "option", ["label", "key", "split", "payload", "filter", "allow_private_addresses", "streaming"]
)
def test_an_option_that_means_nothing_is_refused(tree: str, option: str) -> None:
    value: Any = {"payload": ("x",), "allow_private_addresses": True, "streaming": True}.get(option, "x")
    flag = {"allow_private_addresses": "allow-private-addresses"}.get(option, option)
    with pytest.raises(UsageError, match=f"--{flag} does not work with a folder"):
        open_source(tree, SourceOptions(**{option: value}))


def test_a_folder_that_cannot_be_listed_is_told_apart_from_a_folder_that_is_gone(
    tree: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What begins with the key of such an item is not gone; a sync would delete it otherwise."""
    broken = [True]
    scan, listing = os.scandir, MemoryFileSystem.ls

    def refuse(path: Any) -> None:
        if broken[0] and str(path).endswith("/a"):
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", lambda path: (refuse(path), scan(path))[1])
    monkeypatch.setattr(
        MemoryFileSystem, "ls", lambda self, path, **rest: (refuse(path), listing(self, path, **rest))[1]
    )
    source = open_source(tree, SourceOptions())
    found = {item.key: item for item in source.items}
    assert set(found) == {key for key in TREE if not key.startswith("a/")} | {"a"}
    with pytest.raises(ImageError, match="cannot list this folder: Permission denied"):
        found["a"].read()
    broken[0] = False
    assert len(keys(open_source(tree, SourceOptions()))) == len(TREE)


def test_a_tree_that_cannot_be_listed_at_all(tree: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr(MemoryFileSystem, "ls", refuse)
    with pytest.raises(CbirError, match="tree: cannot list this folder: Permission denied"):
        open_source(tree, SourceOptions())


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each folder was listed."""
    count: Counter[str] = Counter()
    scan, listing = os.scandir, MemoryFileSystem.ls
    monkeypatch.setattr(os, "scandir", lambda path: (count.update([str(path)]), scan(path))[1])
    monkeypatch.setattr(
        MemoryFileSystem, "ls", lambda self, path, **rest: (count.update([path]), listing(self, path, **rest))[1]
    )
    return count


@pytest.mark.parametrize(
    "options", [SourceOptions(), SourceOptions(limit=3), SourceOptions(top_classes=1), SourceOptions(shard=(1, 2))]
)
def test_each_folder_is_listed_once(tree: str, options: SourceOptions, listed: Counter[str]) -> None:
    source = open_source(tree, options)
    first = keys(source)
    assert source.total == len(first) > 0
    assert keys(source) == first
    folders = {"", "/A", "/a", "/a b", "/a/b", "/a/b/c"}
    root = tree.removeprefix("memory:/")
    assert listed == Counter(f"{root}{folder}" for folder in folders)


def test_an_ingest_lists_each_folder_once(
    tmp_path: Path, photo_folder: Path, model_file: Path, listed: Counter[str]
) -> None:
    source = open_source(str(photo_folder), SourceOptions(limit=20))
    summary = ingest(source, catalogs(f"faiss:{tmp_path / 'index'}"), model_file, Settings(cache=tmp_path))
    assert summary.stored == source.total == 20
    folders = {str((photo_folder / item.key).parent) for item in source.items} | {str(photo_folder)}
    assert {folder: listed[folder] for folder in folders} == dict.fromkeys(folders, 1)


@pytest.mark.parametrize(
    ("folders", "images", "version"), [(1, 100_000, ""), (1000, 100, f'123456:"{"0" * 32}"'), (100_000, 1, "")]
)
def test_a_listing_takes_few_bytes_an_image(folders: int, images: int, version: str) -> None:
    def listing(folder: str) -> Iterator[Entry]:
        if folder == "" and folders > 1:
            yield from (Entry(f"product {number:06}", True) for number in range(folders))
        else:
            yield from (Entry(f"IMG_20240101_{number:06}.jpg", False, version) for number in range(images))

    tracemalloc.start()
    try:
        tree = Tree("made up", listing, lambda _: bytes)
        kept = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        assert len(tree) == sum(1 for _ in tree) == 100_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert kept < (100 + len(version)) * 100_000
    assert peak - kept < 100_000, "the items are made one by one"


def test_a_tree_of_other_files_says_how_many_there_are(tmp_path: Path) -> None:
    for name in ("a.heic", "b.heic", "c.txt"):
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match=r"has no image files \(.*\), but 3 other files"):
        open_source(str(tmp_path), SourceOptions())
