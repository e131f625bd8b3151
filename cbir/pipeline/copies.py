"""Copies of stored images, found while their originals are being stored."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from cbir.pipeline.journal import Journal
from cbir.records import Point
from cbir.search.duplicates import HASH_BITS, perceptual_hash


@dataclass(frozen=True)
class Original:
    """The stored picture that another is a copy of, and how: "the same bytes" or how near it comes."""

    key: str
    how: str


class Copies:
    """Finds the original of a point among what a journal knows, and, if asked to, by look.

    Args:
        journal: Of the collection.
        bits: The most bits that two pictures of one look may differ in; None looks at bytes alone.
        stored: (key, thumbnail) of what is stored already; read only if `bits` is given.
    """

    def __init__(self, journal: Journal, bits: int | None, stored: Iterable[tuple[str, bytes]]):
        self._journal = journal
        self._bits = bits
        self._fresh: dict[str, Point] = {}
        self._keys: list[str] = []
        if bits is not None:
            import faiss

            self._index = faiss.IndexBinaryFlat(HASH_BITS)
            for key, thumbnail in stored:
                self._add(key, perceptual_hash(thumbnail))

    def original(self, point: Point) -> Original | None:
        """Return the stored picture that `point` is a copy of, or None; then it counts as stored itself."""
        key = str(point.payload["key"])
        sha256 = str(point.payload["sha256"])
        fresh = self._fresh.setdefault(sha256, point)
        copied = self._journal.key_of(sha256, point.id) if fresh.id == point.id else str(fresh.payload["key"])
        if copied is not None:
            return Original(copied, "the same bytes")
        if self._bits is None:
            return None
        code = perceptual_hash(point.thumbnail)
        if self._keys:
            distances, positions = self._index.search(code[None], 1)
            found = self._keys[int(positions[0, 0])]
            if distances[0, 0] <= self._bits and found != key:
                return Original(found, f"{distances[0, 0]} of 64 bits differ")
        self._add(key, code)
        return None

    def committed(self) -> None:
        """Forget what the journal has written down by now."""
        self._fresh.clear()

    def _add(self, key: str, code: np.ndarray) -> None:
        self._index.add(code[None])
        self._keys.append(key)
