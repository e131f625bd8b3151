"""A full disk: refused in advance where it can be predicted, and reported in one line where it happens."""

import errno
import re
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cbir.errors import CbirError, DiskFullError
from cbir.index.generation import IndexRecord

PAYLOAD_BYTES = 2000
"""Size of a point in the log without its vector. Images of the packaged sample take twice as much."""

_ENGINE_BYTES = 300
_NEARLY_FULL_BYTES = 16 * 2**20
_FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT}
_COMPRESSED = re.compile(r"PQ|SQ|RaBitQ|LSH")
_HALVED = re.compile(r"SQfp16|SQbf16")
_KEPT = "everything stored so far is kept"
_HINT = f"{_KEPT}. Free some space and run the same command again."


def require_free_space(
    folder: Path, fresh: int, total: int, dimension: int, engines: Mapping[str, IndexRecord]
) -> None:
    """Raise `DiskFullError` if `fresh` new points and the engines for `total` points cannot fit on the disk.

    The estimate is low: what passes may still fill the disk.
    """
    vector = 4 * dimension
    needed = fresh * (vector + PAYLOAD_BYTES)
    for engine in engines.values():
        index = engine.options.get("index", "")
        halved = engine.options.get("datatype") == "float16" or _HALVED.search(index)
        share = 2 if halved else 16 if _COMPRESSED.search(index) else 1
        needed += total * (_ENGINE_BYTES + vector // share)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskFullError(
            f"{folder}: {total:,} points need about {needed / 1e9:,.2f} GB, and {free / 1e9:,.2f} GB are free."
            " Free some space, or use a store on another disk."
        )


def is_disk_full(error: BaseException, folder: Path) -> bool:
    """Return True if an engine failed because of a full disk, which its library may report as text or not at all."""
    reported = (isinstance(error, OSError) and error.errno in _FULL_ERRNOS) or "No space left" in str(error)
    return reported or shutil.disk_usage(folder).free < _NEARLY_FULL_BYTES


@contextmanager
def report_full_disk(what: str = "the index") -> Iterator[None]:
    """Turn the errors of a full disk into `DiskFullError`, and others of the journal into `CbirError`.

    `what` is written; it is named if the system does not name a file.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL_ERRNOS:
            raise
        raise DiskFullError(f"the disk is full: {error.filename or what}; {_HINT}") from None
    except sqlite3.OperationalError as error:
        if "full" not in str(error):
            raise CbirError(f"the journal cannot be written: {error}; {_KEPT}") from None
        raise DiskFullError(f"the disk is full: the journal; {_HINT}") from None


def disk_full_error(what: str) -> DiskFullError:
    """Return the error for work that failed because of a full disk."""
    return DiskFullError(f"the disk is full: {what}; {_HINT}")
