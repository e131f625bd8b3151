"""Copies of stored images, found during an ingest."""

from collections.abc import Callable, Container, Iterable, Sequence

import numpy as np

from cbir.pipeline.journal import Journal
from cbir.records import Point
from cbir.search.duplicates import HASH_BITS, perceptual_hash


class Copies:
    """Finds the stored image that a new point is a copy of.

    At most `bits` bits of the perceptual hash of a copy differ; None compares the bytes only. `stored` has key and
    thumbnail of each stored image, and is read only if `bits` is given. The original is an image that the source has,
    if there is one. An image that the source no longer has is one only with `stay`: a sync removes or renames it.
    """

    def __init__(
        self,
        journal: Journal,
        bits: int | None,
        stored: Iterable[tuple[str, bytes]],
        is_in_source: Callable[[str], bool],
        stay: bool,
    ):
        self._journal = journal
        self._bits = bits
        self._is_in_source = is_in_source
        self._stay = stay
        self._fresh: dict[str, tuple[str, str]] = {}
        self._keys: list[str] = []
        if bits is not None:
            import faiss

            self._index = faiss.IndexBinaryFlat(HASH_BITS)
            for key, thumbnail in stored:
                if stay or is_in_source(key):
                    self._add(key, perceptual_hash(thumbnail))

    def originals(self, points: Sequence[Point]) -> dict[str, tuple[str, str]]:
        """Return the key of the stored image that a point is a copy of, and how the two are alike, by the point's id.

        A point that is no copy counts as stored from then on.
        """
        stored = self._journal.hashes_among([str(point.payload["sha256"]) for point in points])
        found = ((point.id, self._original(point, stored)) for point in points)
        return {point_id: original for point_id, original in found if original is not None}

    def _original(self, point: Point, stored: Container[str]) -> tuple[str, str] | None:
        key, sha256 = str(point.payload["key"]), str(point.payload["sha256"])
        fresh_id, fresh_key = self._fresh.setdefault(sha256, (point.id, key))
        if fresh_id != point.id:
            same = [fresh_key]
        else:
            same = self._journal.keys_with(sha256, point.id) if sha256 in stored else []
        copied = next(filter(self._is_in_source, same), same[0] if same and self._stay else None)
        if copied is not None:
            return copied, "the same bytes"
        if self._bits is None:
            return None
        code = perceptual_hash(point.thumbnail)
        if self._keys:
            distances, positions = self._index.search(code[None], 1)
            nearest = self._keys[int(positions[0, 0])]
            if distances[0, 0] <= self._bits and nearest != key:
                return nearest, f"{distances[0, 0]} of 64 bits differ"
        self._add(key, code)
        return None

    def committed(self) -> None:
        """Forget the points that are in the journal by now."""
        self._fresh.clear()

    def _add(self, key: str, code: np.ndarray) -> None:
        self._index.add(code[None])
        self._keys.append(key)
