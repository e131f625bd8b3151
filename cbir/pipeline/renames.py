"""Renamed images: a new key of the source has the bytes of a stored image whose key the source no longer has."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from cbir.pipeline.writers import Target
from cbir.records import LABEL, Point, point_id, with_changes


@dataclass(frozen=True)
class Rename:
    """A new point, and the stored point that it replaces."""

    id: str
    key: str
    old_id: str
    old_key: str


class Renames:
    """Finds the stored points that new ones replace.

    `is_missing` tells if the source lacks a key, and `label_of` which label it gives an image with a key, if the key
    decides that.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        dataset: str,
        is_missing: Callable[[str], bool],
        label_of: Callable[[str], str | None] | None,
    ):
        self._targets = targets
        self._dataset = dataset
        self._is_missing = is_missing
        self._label_of = label_of
        self._replaced: set[str] = set()

    def apply(self, points: Sequence[Point]) -> tuple[list[Point], list[Rename]]:
        """Return the points, and which of them replace stored ones, whose edits they get.

        Each stored point is replaced once.
        """
        old_ids: dict[str, str] = {}
        for point in points:
            if old_id := self._old_id(point):
                self._replaced.add(old_id)
                old_ids[point.id] = old_id
        stored: dict[str, Point] = {}
        for target in reversed(self._targets) if old_ids else ():
            stored |= target.writer.points(list(old_ids.values()))
        replaced = {new_id: stored[old_id] for new_id, old_id in old_ids.items() if old_id in stored}
        renames = [
            Rename(point.id, str(point.payload["key"]), before.id, str(before.payload["key"]))
            for point in points
            if (before := replaced.get(point.id))
        ]
        return [self._edited(point, replaced.get(point.id)) for point in points], renames

    def _edited(self, point: Point, before: Point | None) -> Point:
        """Return the point with what was edited in `before`: fields that the source does not have, and the label."""
        if before is None:
            return point
        edits = {name: value for name, value in before.payload.items() if name not in point.payload}
        label = before.payload.get(LABEL)
        if self._label_of is not None and label != self._label_of(str(before.payload["key"])):
            edits[LABEL] = label
        return with_changes(point, edits) if edits else point

    def _old_id(self, point: Point) -> str | None:
        """Return the id of the point that a new one replaces: if possible, one with the same file name."""
        if any(point.id in target.writer.stored_ids for target in self._targets):
            return None
        sha256, name = str(point.payload["sha256"]), _name(str(point.payload["key"]))
        keys = {key for target in self._targets for key in target.journal.keys_with(sha256, point.id)}
        for key in sorted(keys, key=lambda key: (_name(key) != name, key)):
            old_id = point_id(self._dataset, key)
            if old_id not in self._replaced and self._is_missing(key):
                return old_id
        return None


def _name(key: str) -> str:
    return PurePosixPath(key).name
