"""Folder trees, on this machine and wherever fsspec reaches: an image's class is its parent folder.

A tree is walked lazily, one folder's names at a time, files before folders, both sorted.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cbir.errors import CbirError, ImageError, UsageError
from cbir.images.decode import EXTENSIONS
from cbir.records import Item, plain
from cbir.sources.base import (
    MAX_FILE_BYTES,
    FileBytes,
    Items,
    Source,
    SourceOptions,
    count_items,
    is_complete,
    refuse,
    select,
    selection,
    unusable,
    with_version,
    without_login,
)

_REFUSED = ("label", "key", "split", "payload", "where", "private_urls", "streaming")
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
_TOKENS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "updated", "modified", "created")
"""What file systems call the thing that changes with a file's content, the best first."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder; `version` as in `Item`."""

    name: str
    is_folder: bool
    version: str = ""


def open_folder(text: str, options: SourceOptions) -> Source:
    """Return the source for a folder of this machine.

    Raises:
        UsageError: There is no image in it.
    """
    refuse(options, _REFUSED, f"a folder ({text}), where an image's class is its parent folder")
    root = Path(text).expanduser().resolve()
    found = Items(lambda: _walk(plain(str(root)), partial(_list_folder, root), lambda key: FileBytes(f"{root}/{key}")))
    _require_one(found, str(root))
    keep = selection(found, options)
    items = Items(lambda: map(with_version, keep(found)))
    total = count_items(keep(found))
    name = plain(root.name) or "root"
    return Source(name, plain(str(root)), items, total, [], is_complete(options), True)


def open_bucket(url: str, options: SourceOptions) -> Source:
    """Return the source for a folder tree behind a URL that fsspec understands: `s3://`, `gs://`, ...

    Its total is unknown, since counting would list everything twice.

    Raises:
        UsageError: fsspec or the package behind it does not know the URL, or there is no image in it.
        CbirError: It cannot be listed.
    """
    text = without_login(url)
    refuse(options, _REFUSED, f"a folder tree ({text}), where an image's class is its parent folder")
    files, root = open_files(url, text)
    listing = partial(_list_bucket, files, root)
    found = Items(lambda: _walk(text, listing, lambda key: partial(read_remote, files, f"{root}/{key}")))
    _require_one(found, text)
    name = plain(root.rstrip("/").rpartition("/")[2]) or "root"
    return Source(name, plain(text), select(found, options), None, [], is_complete(options), True)


def read_remote(files: Any, path: str) -> bytes:
    """Return the bytes of a file of an fsspec file system.

    Raises:
        ImageError: It cannot be read or is larger than 256 MB.
    """
    try:
        data = bytes(files.cat_file(path, start=0, end=MAX_FILE_BYTES + 1))
    except Exception as error:  # every file system has errors of its own
        raise ImageError(f"cannot be read: {_reason(error)}") from None
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(f"too large: the limit is {MAX_FILE_BYTES >> 20} MiB")
    return data


def remote_token(info: Mapping[str, Any]) -> str:
    """Return a token that changes with a file's content, from what fsspec says of it; "" if it says nothing of use."""
    token = next((str(info[name]) for name in _TOKENS if info.get(name) is not None), "")
    return f"{info.get('size')}:{token}" if token else ""


def open_files(url: str, text: str) -> tuple[Any, str]:
    """Return fsspec's file system for a URL, and the path in it.

    Args:
        url: The URL.
        text: How messages name it.

    Raises:
        UsageError: fsspec or the package behind it does not know such a URL.
        CbirError: It cannot be reached.
    """
    import fsspec

    scheme = url.partition(":")[0]
    if scheme in ("http", "https", "file", "local"):
        raise UsageError(
            f"{text} is no folder tree: give a local folder as a path, and web addresses in a table or on -"
        )
    try:
        files, root = fsspec.core.url_to_fs(url)
    except ImportError as error:
        hint = f"pip install 'cbir[{_EXTRAS[scheme]}]'" if scheme in _EXTRAS else str(error)
        raise UsageError(f"{text} needs a package that is not installed: {hint}") from None
    except ValueError as error:
        raise UsageError(f"{text} is no address of a folder tree: {error}") from None
    except Exception as error:
        raise CbirError(f"{text} cannot be reached: {_reason(error)}") from None
    return files, root.rstrip("/")


def _require_one(items: Iterable[Item], where: str) -> None:
    try:
        first = next(iter(items), None)
    except CbirError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise UsageError(str(error)) from None
        raise
    if first is None:
        raise UsageError(f"{where} has no image file ({', '.join(sorted(EXTENSIONS))}) in it or below it")


def _walk(
    where: str, listing: Callable[[str], Iterable[Entry]], reader: Callable[[str], Callable[[], bytes]]
) -> Iterator[Item]:
    """Yield the image files of a tree, without hidden names.

    A folder that cannot be listed is an item that says so: what was in it is not gone.

    Raises:
        CbirError: The tree itself cannot be listed.
    """
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        label = folder[:-1].rpartition("/")[2] or None
        folders: list[str] = []
        names: list[str] = []
        versions: dict[str, str] = {}
        try:
            for entry in listing(folder):
                if entry.name.startswith("."):
                    continue
                if entry.is_folder:
                    folders.append(entry.name)
                elif os.path.splitext(entry.name)[1].lower() in EXTENSIONS:  # noqa: PTH122
                    names.append(entry.name)
                    if entry.version:
                        versions[entry.name] = entry.version
        except OSError as error:
            reason = f"cannot list this folder: {error.strerror or _reason(error)}"
            if not folder:
                raise CbirError(f"{where}: {reason}") from error
            yield Item(folder.rstrip("/"), partial(unusable, reason))
        names.sort()
        for name in names:
            key = f"{folder}{name}"
            yield Item(key, reader(key), label, None, versions.get(name, ""))
        waiting += [f"{folder}{name}/" for name in sorted(folders, reverse=True)]


def _list_folder(root: Path, folder: str) -> Iterator[Entry]:
    """Yield a folder's names; a link to a file is a file, one to a folder is not followed, so nothing goes round."""
    with os.scandir(f"{root}/{folder}".rstrip("/") or "/") as entries:
        for entry in entries:
            yield Entry(entry.name, entry.is_dir(follow_symlinks=False))


def _list_bucket(files: Any, root: str, folder: str) -> Iterator[Entry]:
    """Yield a folder's names in a bucket.

    Raises:
        OSError: It cannot be listed.
    """
    path = f"{root}/{folder}".rstrip("/")
    try:
        found = files.ls(path, detail=True)
        files.invalidate_cache(path)  # or it would keep what it has listed, up to ten million names
    except OSError:
        raise
    except Exception as error:  # every file system has errors of its own
        raise OSError(0, _reason(error)) from None
    for info in found:
        place = info["name"].rstrip("/")
        if place.strip("/") != path.strip("/"):  # a folder's own marker
            yield Entry(place.rpartition("/")[2], info["type"] == "directory", remote_token(info))


def _reason(error: Exception) -> str:
    return without_login(" ".join(f"{type(error).__name__}: {error}".split()))[:300]
