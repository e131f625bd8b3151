"""Vectors that are not computed again: a stored image has the same bytes, and the same model embedded it.

The checksum of a model file covers its card, and with it the `PREPROCESSING_VERSION`, so a collection has vectors of
one way of decoding. As for an image that did not change, another version of Pillow is no reason to embed it again.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache

import numpy as np

from cbir.errors import CbirError
from cbir.index.generation import Plan
from cbir.index.stored_ids import fingerprint
from cbir.pipeline.workers import FindPoint, are_unit
from cbir.records import Payload, Point, id_bytes, id_text
from cbir.stores.base import Catalog

_MOST_IDS = 10

log = logging.getLogger(__name__)

Place = tuple[Callable[[str], Iterable[str]], Callable[[Sequence[str]], Mapping[str, Point]]]
"""Two functions of a collection: from a SHA-256 to the ids that may have it, and from ids to the stored points."""


def find_in(places: Sequence[Place], others: Callable[[], Sequence[Place]] = tuple) -> FindPoint:
    """Return a function that finds a stored point by the SHA-256 of its image in the first of the places that has one.

    `others` returns more places. It is called once, for the first image that is in none of the places before.
    """
    opening, open_others = threading.Lock(), cache(others)

    def find(sha256: str) -> Point | None:
        point = _found(sha256, places)
        if point is None:
            with opening:
                opened = open_others()
            with suppress(CbirError):  # another process may drop a collection
                point = _found(sha256, opened)
        return point

    return find


def _found(sha256: str, places: Sequence[Place]) -> Point | None:
    """Return a stored point. The ids may be out of date, as a journal is after a crash; the points decide."""
    candidates = ((points, point_id) for ids_with, points in places for point_id in ids_with(sha256))
    found = (points([point_id]).get(point_id) for points, point_id in candidates)
    return next((point for point in found if point is not None and _is_whole(point, sha256)), None)


def _is_whole(point: Point, sha256: str) -> bool:
    return point.payload.get("sha256") == sha256 and all(are_unit(point.vector[None])) and bool(point.thumbnail)


def other_collections(catalogs: Sequence[Catalog], plan: Plan) -> list[Place]:
    """Return the other complete collections of the catalogs that the same model filled, but for damaged ones."""
    return [place for catalog in catalogs for place in _other_collections(catalog, plan)]


def _other_collections(catalog: Catalog, plan: Plan) -> Iterator[Place]:
    for name in catalog.names():
        try:
            other = catalog.plan(name)
            if name != plan.collection and other is not None and other.model.sha256 == plan.model.sha256:
                stored = catalog.read_back(name)
                yield _ids_by_hash(stored.described), stored.get
        except CbirError as error:
            log.warning("warning: no vectors of %s are reused: %s", name, error)


def _ids_by_hash(described: Iterable[tuple[str, Payload]]) -> Callable[[str], list[str]]:
    """Return a function from a SHA-256 to some of the ids that have it. It takes 24 bytes for each point."""
    pairs = ((fingerprint(str(payload.get("sha256", ""))), id_bytes(point_id)) for point_id, payload in described)
    rows = np.fromiter(pairs, np.dtype([("hash", "u8"), ("id", "S16")]))
    order = np.argsort(rows["hash"])
    hashes, ids = rows["hash"][order], rows["id"][order]

    def ids_with(sha256: str) -> list[str]:
        wanted = np.uint64(fingerprint(sha256))
        start, stop = (int(np.searchsorted(hashes, wanted, side)) for side in ("left", "right"))
        return [id_text(point_id) for point_id in ids[start:stop][:_MOST_IDS].tolist()]

    return ids_with
