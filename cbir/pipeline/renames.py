"""Renamed images: a new key of the source has the bytes of a stored image whose key the source no longer has.

What was edited stays with a renamed image, and with one whose file has another date and the same bytes.
"""

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath

from cbir.pipeline.writers import Target
from cbir.records import LABEL, Point, digest, point_id, with_changes
from cbir.sources.base import is_same_row


@dataclass(frozen=True)
class Rename:
    """A new point, and the stored point that it replaces."""

    id: str
    key: str
    old_id: str
    old_key: str


class Renames:
    """Finds the stored points that new ones replace.

    `missing` returns for each target the keys of stored images that the source lacks, with their SHA-256s; it is called
    if a new point may replace one. `label_of` returns the label that the source gives an image with a key, if the key
    decides that.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        dataset: str,
        missing: Callable[[], Iterable[Mapping[str, str]]],
        label_of: Callable[[str], str | None] | None,
    ):
        self._targets = targets
        self._dataset = dataset
        self._label_of = label_of
        self._missing = missing
        self._replaced: set[str] = set()

    @cached_property
    def _keys(self) -> Mapping[tuple[str, str], list[str]]:
        """The missing keys by SHA-256 and file name, and by SHA-256 alone, the first in order at the end."""
        found: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        missing = {key: sha256 for images in self._missing() for key, sha256 in images.items()}
        for key, sha256 in sorted(missing.items(), reverse=True):
            for name in (_name(key), ""):
                found[sha256, name].append(key)
        return found

    def apply(self, points: Sequence[Point], reused: Container[str]) -> tuple[list[Point], list[Rename]]:
        """Return the points, and which of them replace stored ones, whose edits they get.

        Each stored point is replaced once, by a point whose id is in `reused`: it got the vector of a stored one. A
        point that is stored itself keeps its edits, too, unless its image or its row in the source has changed.
        """
        old_ids: dict[str, str] = {}
        for point in points:
            if point.id not in reused:
                continue
            if any(point.id in target.writer.stored_ids for target in self._targets):
                old_ids[point.id] = point.id
            elif old_key := self._old_key(point):
                old_ids[point.id] = point_id(self._dataset, old_key)
        stored: dict[str, Point] = {}
        for target in reversed(self._targets) if old_ids else ():
            stored |= target.writer.points(list(old_ids.values()))
        replaced = {new_id: stored[old_id] for new_id, old_id in old_ids.items() if old_id in stored}
        renames = [
            Rename(point.id, str(point.payload["key"]), before.id, str(before.payload["key"]))
            for point in points
            if (before := replaced.get(point.id)) and before.id != point.id
        ]
        return [self._edited(point, replaced.get(point.id)) for point in points], renames

    def _edited(self, point: Point, before: Point | None) -> Point:
        """Return the point with what was edited in `before`: fields that the source does not have, and the label."""
        if before is None:
            return point
        if before.id == point.id:
            return self._unchanged(point, before)
        edits = {name: value for name, value in before.payload.items() if name not in point.payload}
        label = before.payload.get(LABEL)
        if self._label_of is not None and label != self._label_of(str(before.payload["key"])):
            edits[LABEL] = label
        return with_changes(point, edits) if edits else point

    def _unchanged(self, point: Point, before: Point) -> Point:
        """Return the point with the whole payload of `before` if the source still has the same image and row."""
        if point.payload["sha256"] != before.payload.get("sha256"):
            return point
        if self._label_of is None and not is_same_row(point.version, before.version):
            return point
        return replace(point, payload=before.payload, digest=digest(before.payload))

    def _old_key(self, point: Point) -> str | None:
        """Return the key of the point that a new one replaces: if possible, one with the same file name."""
        for name in (_name(str(point.payload["key"])), ""):
            keys = self._keys.get((str(point.payload["sha256"]), name), [])
            while keys:
                key = keys.pop()
                if key not in self._replaced:
                    self._replaced.add(key)
                    return key
        return None


def _name(key: str) -> str:
    return PurePosixPath(key).name
