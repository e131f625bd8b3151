"""Buckets and whatever else fsspec reaches: folder trees, and the files that other sources name by such a URL."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from cbir.errors import CbirError, ImageError, UsageError
from cbir.images.files import MAX_FILE_BYTES
from cbir.sources.base import Source, SourceOptions
from cbir.sources.tree import Entry, Tree, error_text, refuse_columns
from cbir.text import without_login

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
_TOKENS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "updated", "modified", "created")
"""What file systems call the thing that changes with a file's content, the best first."""


def open_bucket(url: str, options: SourceOptions) -> Source:
    """Return the source for a folder tree behind a URL that fsspec understands: `s3://`, `gs://`, ...

    Raises:
        UsageError: fsspec or the package behind it does not know the URL, or there is no image in it.
        CbirError: It cannot be listed.
    """
    text = without_login(url)
    refuse_columns(options, f"a folder tree ({text})")
    files, root = open_files(url, text)
    tree = Tree(text, partial(_list_bucket, files, root), lambda key: partial(read_remote, files, f"{root}/{key}"))
    return tree.source(root.rpartition("/")[2], options)


def read_remote(files: Any, path: str) -> bytes:
    """Return the bytes of a file of an fsspec file system.

    Raises:
        ImageError: It cannot be read or is larger than 256 MB.
    """
    try:
        data = bytes(files.cat_file(path, start=0, end=MAX_FILE_BYTES + 1))
    except Exception as error:  # every file system has errors of its own
        raise ImageError(f"cannot be read: {error_text(error)}") from None
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
        raise CbirError(f"{text} cannot be reached: {error_text(error)}") from None
    return files, root.rstrip("/")


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
        raise OSError(0, error_text(error)) from None
    for info in found:
        place = info["name"].rstrip("/")
        if place.strip("/") != path.strip("/"):  # a folder's own marker
            name = place.rpartition("/")[2].replace("\0", "?")  # which S3 allows, and no tree can hold
            yield Entry(name, info["type"] == "directory", remote_token(info))
