"""Vectors that are not computed again: a stored image has the same bytes, and the same model embedded it."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from cbir.pipeline.workers import FindPoint, is_unit
from cbir.records import Point

Place = tuple[Callable[[str], Iterable[str]], Callable[[Sequence[str]], Mapping[str, Point]]]
"""Two functions of a collection: from a SHA-256 to the ids that may have it, and from ids to the stored points."""


def find_in(places: Sequence[Place]) -> FindPoint:
    """Return a function that finds a stored point by the SHA-256 of its image in the first of the places that has one.

    The stored points decide. The ids may be out of date, as a journal is after a crash.
    """

    def find(sha256: str) -> Point | None:
        candidates = ((points, point_id) for ids_with, points in places for point_id in ids_with(sha256))
        found = (points([point_id]).get(point_id) for points, point_id in candidates)
        return next((point for point in found if point is not None and _is_whole(point, sha256)), None)

    return find


def _is_whole(point: Point, sha256: str) -> bool:
    return point.payload.get("sha256") == sha256 and is_unit(point.vector) and bool(point.thumbnail)
