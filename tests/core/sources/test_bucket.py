"""Buckets, stood in for by a file system in memory: what only they can do, and their errors."""

import sys
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from cbir.errors import CbirError, ImageError, UsageError
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source


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
        ("nonsense://x", "nonsense://x is not the address of a folder tree: .*nonsense"),
        ("https://me:secret@example.org/photos", "https://example.org/photos cannot be listed as a folder"),
        ("file:///etc", "file:///etc cannot be listed as a folder. Give a local folder as a path"),
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


def test_a_name_with_a_zero_in_a_bucket_costs_no_other_image(bucket: MemoryFileSystem) -> None:
    for name in ("a.jpg", "b\0c.jpg", "d\0e/f.jpg", "g.jpg"):
        bucket.pipe_file(f"/x/{name}", name.encode())
    items = {item.key: item for item in open_source("memory://x", SourceOptions()).items}
    assert list(items) == ["a.jpg", "b?c.jpg", "g.jpg", "d?e"]
    assert [items[key].read() for key in ("a.jpg", "g.jpg")] == [b"a.jpg", b"g.jpg"]
    for key in ("b?c.jpg", "d?e"):
        with pytest.raises(ImageError, match="FileNotFoundError"):
            items[key].read()
