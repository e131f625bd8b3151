"""Buckets and other file systems of fsspec: folder trees, and files that other sources name by a URL."""

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
"""The fields by which file systems tell that a file has changed, the most reliable ones first."""


def open_bucket(url: str, options: SourceOptions) -> Source:
    """Return the source for a folder tree at a URL of fsspec, such as `s3://` or `gs://`.

    Raises:
        UsageError: fsspec does not support the URL, a package is missing, or the tree has no images.
        CbirError: The tree cannot be listed.
    """
    text = without_login(url)
    refuse_columns(options, f"a folder tree ({text})")
    files, root = open_files(url, text)
    tree = Tree(text, partial(_list_bucket, files, root), lambda key: partial(read_remote, files, f"{root}/{key}"))
    return tree.source(root.rpartition("/")[2], options)


def read_remote(files: Any, path: str) -> bytes:
    """Return the bytes of a file of an fsspec file system.

    Raises:
        ImageError: The file cannot be read, or is larger than 256 MB.
    """
    try:
        data = bytes(files.cat_file(path, start=0, end=MAX_FILE_BYTES + 1))
    except Exception as error:  # every file system has errors of its own
        raise ImageError(f"cannot be read: {error_text(error)}") from None
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(f"too large: the limit is {MAX_FILE_BYTES >> 20} MiB")
    return data


def remote_token(info: Mapping[str, Any]) -> str:
    """Return a text that changes with the content of a file, "" if fsspec reports nothing of that kind."""
    token = next((str(info[name]) for name in _TOKENS if info.get(name) is not None), "")
    return f"{info.get('size')}:{token}" if token else ""


def open_files(url: str, text: str) -> tuple[Any, str]:
    """Return fsspec's file system for a URL, which messages call `text`, and the path in it.

    Raises:
        UsageError: fsspec does not support the URL, or a package is missing.
        CbirError: The file system cannot be reached.
    """
    import fsspec

    scheme = url.partition(":")[0]
    if scheme in ("http", "https", "file", "local"):
        raise UsageError(
            f"{text} cannot be listed as a folder. Give a local folder as a path, and web addresses in a table or on"
            " standard input (-)."
        )
    try:
        files, root = fsspec.core.url_to_fs(url)
    except ImportError as error:
        hint = f"pip install 'cbir[{_EXTRAS[scheme]}]'" if scheme in _EXTRAS else str(error)
        raise UsageError(f"{text} needs a package that is not installed: {hint}") from None
    except ValueError as error:
        raise UsageError(f"{text} is not the address of a folder tree: {error}") from None
    except Exception as error:
        raise CbirError(f"{text} cannot be reached: {error_text(error)}") from None
    return files, root.rstrip("/")


def _list_bucket(files: Any, root: str, folder: str) -> Iterator[Entry]:
    """Yield the names in a folder of a bucket.

    Raises:
        OSError: The folder cannot be listed.
    """
    path = f"{root}/{folder}".rstrip("/")
    try:
        found = files.ls(path, detail=True)
        files.invalidate_cache(path)  # or fsspec would keep up to ten million names in memory
    except OSError:
        raise
    except Exception as error:  # every file system has errors of its own
        raise OSError(0, error_text(error)) from None
    for info in found:
        full_name = info["name"].rstrip("/")
        if full_name.strip("/") != path.strip("/"):  # the marker of the folder itself
            name = full_name.rpartition("/")[2].replace("\0", "?")  # S3 allows a zero, a `Tree` does not
            yield Entry(name, info["type"] == "directory", remote_token(info))
