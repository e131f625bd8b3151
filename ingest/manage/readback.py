"""What a target holds, read back before it is published, and compared with what was written."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cbir import terminal
from cbir.errors import CbirError
from cbir.index.stored_ids import StoredIds
from cbir.records import Point
from cbir.stores.base import ReadBack
from cbir.text import printable

_ASKED_AT_ONCE = 100
_LOWEST_COSINE = 1 - 1e-5
_CLOSE = 1e-12  # a server may read the last digit of a number otherwise

log = logging.getLogger(__name__)


def require_same(name: str, stored: ReadBack, read: StoredIds, sample: Sequence[Point], alone: bool) -> None:
    """Raise `CbirError` unless a target holds what was read: every id with its picture's hash, and a sample whole.

    Args:
        name: The target's name.
        stored: What it holds.
        read: Ids and pictures' hashes (as digests) of what was read.
        sample: Some of it.
        alone: It must hold nothing else.
    """
    same = others = 0
    with terminal.progress("comparing", len(read), "points") as advance:
        for identity, payload in stored.described:
            is_same = read.has(identity, "", str(payload.get("sha256", "")))
            same, others = same + is_same, others + (not is_same)
            advance(1)
    if same < len(read):
        raise _differs(name, f"{len(read) - same:,} of {len(read):,} points are not there, or hold another picture")
    if others and alone:
        raise _differs(name, f"it has {others:,} points more than were read")
    if others:
        log.warning("%s has %s points that the source does not have; they stay", name, f"{others:,}")
    for start in range(0, len(sample), _ASKED_AT_ONCE):
        part = sample[start : start + _ASKED_AT_ONCE]
        found = stored.get([point.id for point in part])
        for point in part:
            what = _difference(point, found.get(point.id))
            if what:
                raise _differs(name, f"{printable(str(point.payload['key']))} has {what}")


def _difference(point: Point, other: Point | None) -> str:
    if other is None:
        return "gone"
    lengths = float(np.linalg.norm(point.vector) * np.linalg.norm(other.vector))
    cosine = float(point.vector @ other.vector) / lengths if lengths else 0.0
    if not cosine >= _LOWEST_COSINE:
        return f"another vector (cosine {cosine:.6f})"
    if not _alike(point.payload, other.payload):
        return "another payload"
    return "" if point.thumbnail == other.thumbnail else "another thumbnail"


def _alike(one: Any, other: Any) -> bool:
    """Return True if two JSON values are the same, but for the order of fields and the last digit of a number."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_alike(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_CLOSE)
    return bool(one == other)


def _differs(name: str, what: str) -> CbirError:
    return CbirError(
        f"{name} does not hold what was read: {what}; it was not published. Drop it there (cbir-ingest collections"
        " drop) and run the same command again"
    )
