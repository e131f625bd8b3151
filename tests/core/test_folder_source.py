"""Folder trees, here and through fsspec: every image once, in order, whatever its name; each folder listed once."""

import inspect
import os
import sys
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
from cbir.records import full_payload, point_id
from cbir.settings import Settings
from cbir.sources.base import Source, SourceOptions
from cbir.sources.registry import open_source
from cbir.sources.tree import Entry, Tree
from tests.support.building import catalogs

NAMES = ["b.jpg", "a/2.PNG", "a/10.jpg", "a/b/c/deep.webp", "a b/ü.gif", "A/x.jpeg", "z.tif"]
IN_ORDER = ["b.jpg", "z.tif", "A/x.jpeg", "a/10.jpg", "a/2.PNG", "a/b/c/deep.webp", "a b/ü.gif"]


@pytest.fixture
def bucket() -> Iterator[MemoryFileSystem]:
    """A bucket: fsspec's file system in memory, which a real one differs from only behind the same calls."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


@pytest.fixture(params=["folder", "bucket"])
def tree(request: pytest.FixtureRequest, tmp_path: Path, bucket: MemoryFileSystem) -> str:
    """The same files as a folder and in a bucket."""
    for name in [*NAMES, ".hidden/x.jpg", ".x.jpg", "a/notes.txt", "a/.jpg", "jpg"]:
        for root in (str(tmp_path / "tree"), "memory://deep/tree"):
            with fsspec.open(f"{root}/{name}", "wb", auto_mkdir=True) as file:
                file.write(name.encode())
    return str(tmp_path / "tree") if request.param == "folder" else "memory://deep/tree"


def keys(source: Source) -> list[str]:
    return [item.key for item in source.items]


def test_every_image_once_in_order(tree: str) -> None:
    source = open_source(tree, SourceOptions())
    order = sorted(IN_ORDER, key=lambda key: [(part != key.split("/")[-1], part) for part in key.split("/")])
    assert keys(source) == keys(source) == order
    assert sorted(order) == sorted(NAMES)
    assert [item.read().decode() for item in source.items] == order
    assert {item.key: item.label for item in source.items}["a/b/c/deep.webp"] == "c"
    assert {item.key: item.label for item in source.items}["b.jpg"] is None
    assert all(item.version for item in source.items)
    assert (source.name, source.complete, source.unique_keys) == ("tree", True, True)
    assert source.total == len(NAMES)


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
    with pytest.raises(UsageError, match=f"--{flag} means nothing for a folder"):
        open_source(tree, SourceOptions(**{option: value}))


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
    assert set(found) == {key for key in NAMES if not key.startswith("a/")} | {"a"}
    with pytest.raises(ImageError, match="cannot list this folder: Permission denied"):
        found["a"].read()
    broken[0] = False
    assert len(keys(open_source(tree, SourceOptions()))) == len(NAMES)


def test_a_tree_that_cannot_be_listed_at_all(tree: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr(MemoryFileSystem, "ls", refuse)
    with pytest.raises(CbirError, match="tree: cannot list this folder: Permission denied"):
        open_source(tree, SourceOptions())


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


def test_errors_that_only_a_file_system_knows(bucket: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    class HttpError(Exception):
        pass

    def fail(*_: Any, **__: Any) -> None:
        raise HttpError("503\nbusy s3://key:secret@bucket")

    bucket.pipe_file("/x/a.jpg", b"a")
    bucket.pipe_file("/x/b/c.jpg", b"c")
    first, _ = open_source("memory://x", SourceOptions()).items
    monkeypatch.setattr(MemoryFileSystem, "cat_file", fail)
    with pytest.raises(ImageError, match="cannot be read: HttpError: 503 busy s3://bucket"):
        first.read()
    monkeypatch.setattr(MemoryFileSystem, "ls", fail)
    with pytest.raises(CbirError, match="memory://x: cannot list this folder: HttpError: 503 busy") as caught:
        open_source("memory://x", SourceOptions())
    assert "secret" not in str(caught.value)


def test_a_file_in_a_bucket_that_is_too_large_is_not_read(
    bucket: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.pipe_file("/x/a.jpg", b"x" * 1001)
    bucket.pipe_file("/x/b.jpg", b"x" * 1000)
    monkeypatch.setattr("cbir.sources.bucket.MAX_FILE_BYTES", 1000)
    first, second = open_source("memory://x", SourceOptions()).items
    with pytest.raises(ImageError, match="too large"):
        first.read()
    assert len(second.read()) == 1000


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("memory://nowhere", "memory://nowhere: cannot list this folder: FileNotFoundError: /nowhere"),
        ("nonsense://x", "nonsense://x is no address of a folder tree: .*nonsense"),
        ("https://me:secret@example.org/photos", "https://example.org/photos is no folder tree"),
        ("file:///etc", "file:///etc is no folder tree: give a local folder as a path"),
    ],
)
def test_a_wrong_address_is_one_line(bucket: MemoryFileSystem, url: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        open_source(url, SourceOptions())
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "package"), [("s3://bucket/x", "s3fs"), ("gs://bucket/x", "gcsfs"), ("abfs://a/b", "adlfs")]
)
def test_a_missing_package_is_named(url: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    hint = {"s3fs": r"pip install 'cbir\[s3\]'", "gcsfs": r"pip install 'cbir\[gcs\]'"}.get(package, "adlfs")
    with pytest.raises(UsageError, match=f"needs a package that is not installed: .*{hint}"):
        open_source(url, SourceOptions())


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


def test_what_comes_after_the_listing_is_of_the_next_one(tmp_path: Path) -> None:
    """Count and items are of the same moment, whatever happens between them."""
    (tmp_path / "a.jpg").write_bytes(b"a")
    source = open_source(str(tmp_path), SourceOptions())
    (tmp_path / "b.jpg").write_bytes(b"b")
    (tmp_path / "a.jpg").write_bytes(b"longer")
    (item,) = source.items
    assert source.total == 1
    assert item.version.startswith("6:"), "the version is of when the item was made"


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


def test_a_name_with_a_zero_in_a_bucket_costs_no_other_image(bucket: MemoryFileSystem) -> None:
    for name in ("a.jpg", "b\0c.jpg", "d\0e/f.jpg", "g.jpg"):
        bucket.pipe_file(f"/x/{name}", name.encode())
    items = {item.key: item for item in open_source("memory://x", SourceOptions()).items}
    assert list(items) == ["a.jpg", "b?c.jpg", "g.jpg", "d?e"]
    assert [items[key].read() for key in ("a.jpg", "g.jpg")] == [b"a.jpg", b"g.jpg"]
    for key in ("b?c.jpg", "d?e"):
        with pytest.raises(ImageError, match="FileNotFoundError"):
            items[key].read()
