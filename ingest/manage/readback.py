"""The comparison of what a target stored with what was written, before it is published."""

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

_BATCH = 100
_LOWEST_COSINE = 1 - 1e-5
_CLOSE = 1e-12  # a server may round the last digit of a number

log = logging.getLogger(__name__)


def require_same(name: str, stored: ReadBack, read: StoredIds, sample: Sequence[Point], alone: bool) -> None:
    """Raise `CbirError` unless a target holds the points that were read, and no others if `alone`.

    The digests in `read` are the checksums of the images. The points in `sample` are compared completely.
    """
    same = others = 0
    with terminal.progress("comparing", len(read), "points") as advance:
        for point_id, payload in stored.described:
            is_same = read.has(point_id, "", str(payload.get("sha256", "")))
            same, others = same + is_same, others + (not is_same)
            advance(1)
    if same < len(read):
        raise _differs(name, f"{len(read) - same:,} of {len(read):,} points are missing or hold another image")
    if others and alone:
        raise _differs(name, f"it has {others:,} points that were not read")
    if others:
        log.warning("%s has %s points that the source does not have. They are kept.", name, f"{others:,}")
    for start in range(0, len(sample), _BATCH):
        part = sample[start : start + _BATCH]
        found = stored.get([point.id for point in part])
        for point in part:
            difference = _difference(point, found.get(point.id))
            if difference:
                raise _differs(name, f"{printable(str(point.payload['key']))} has {difference}")


def _difference(point: Point, other: Point | None) -> str:
    if other is None:
        return "disappeared"
    lengths = float(np.linalg.norm(point.vector) * np.linalg.norm(other.vector))
    cosine = float(point.vector @ other.vector) / lengths if lengths else 0.0
    if not cosine >= _LOWEST_COSINE:
        return f"another vector (cosine {cosine:.6f})"
    if not _alike(point.payload, other.payload):
        return "another payload"
    return "" if point.thumbnail == other.thumbnail else "another thumbnail"


def _alike(value: Any, other: Any) -> bool:
    """Return True if two JSON values are equal except for the order of fields and the last digit of a number."""
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        return value.keys() == other.keys() and all(_alike(inner, other[name]) for name, inner in value.items())
    if isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other) and all(map(_alike, value, other))
    if isinstance(value, float) and isinstance(other, float):
        return math.isclose(value, other, rel_tol=_CLOSE)
    return bool(value == other)


def _differs(name: str, difference: str) -> CbirError:
    return CbirError(
        f"{name} does not hold what was read: {difference}. It was not published. Drop it with `cbir-ingest collections"
        " drop`, and run the same command again."
    )
