"""A full disk: refused beforehand where it can be known, and told in one line where it fills meanwhile."""

import errno
import re
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cbir.errors import DiskFullError
from cbir.index.generation import IndexRecord

PAYLOAD_BYTES = 2000
"""Of a point in the log besides its vector: thumbnail, payload and digests. Sample pictures take twice as much."""

_ENGINE_BYTES = 300
_LITTLE = 16 * 2**20
_FULL = {errno.ENOSPC, errno.EDQUOT}
_CODED = re.compile(r"PQ|SQ|RaBitQ|LSH")
_HINT = "what was stored is kept; free some space and run the same command again"


def require_free_space(
    folder: Path, fresh: int, total: int, dimension: int, engines: Mapping[str, IndexRecord]
) -> None:
    """Raise `DiskFullError` if the disk cannot take `fresh` more points and all engines built anew for `total`.

    A low estimate: it refuses what cannot fit, and cannot promise that the rest does.
    """
    vector = 4 * dimension
    needed = fresh * (vector + PAYLOAD_BYTES)
    for engine in engines.values():
        coded = _CODED.search(engine.options.get("index", ""))
        needed += total * (_ENGINE_BYTES + (vector // 16 if coded else vector))
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskFullError(
            f"{folder}: {total:,} points take about {needed / 1e9:,.2f} GB more and {free / 1e9:,.2f} GB are free;"
            " free some space, or name a --store on another disk"
        )


def is_disk_full(error: BaseException, folder: Path) -> bool:
    """Return True if a full disk is what made an engine fail: its library may say so only in words, or not at all."""
    said = (isinstance(error, OSError) and error.errno in _FULL) or "No space left" in str(error)
    return said or shutil.disk_usage(folder).free < _LITTLE


@contextmanager
def report_full_disk() -> Iterator[None]:
    """Turn what a full disk raises into `DiskFullError`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFullError(f"the disk is full: {error.filename or 'the index'}; {_HINT}") from None
    except sqlite3.OperationalError as error:
        if "full" not in str(error):
            raise
        raise DiskFullError(f"the disk is full: the journal; {_HINT}") from None


def disk_full_error(what: str) -> DiskFullError:
    """Return the error to raise for something that a full disk ended."""
    return DiskFullError(f"the disk is full: {what}; {_HINT}")
