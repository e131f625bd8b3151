"""Vectors of the tail in a bit for each number, to find candidates in a fraction of the time of comparing all.

FAISS estimates a score from these codes (RaBitQ, https://arxiv.org/abs/2405.12497). Its fast scans of four-bit codes
add up scores in 16 bits. With 1,280 dimensions, that sum overflows for the best hits of some collections.
"""

from typing import Any

import faiss
import numpy as np

from cbir.records import Vector

_SAMPLE = 256
_QUERY_BITS = 4


class TailCodes:
    """The codes of some vectors. Safe to share between threads: it never changes.

    `rows` are the numbers of the vectors' rows in the tail: a row stays what it is when the tail grows.
    """

    def __init__(self, rows: np.ndarray, vectors: Vector, before: "TailCodes | None" = None):
        """Make the codes of vectors (n, D); those that are in `before` are taken from there."""
        self.rows = rows
        kept = len(before.rows) if before and np.array_equal(before.rows, rows[: len(before.rows)]) else 0
        self._index: Any = faiss.clone_index(before._index) if before and kept else _empty(vectors[:_SAMPLE])
        if kept < len(vectors):
            self._index.add(np.ascontiguousarray(vectors[kept:]))

    def nearest(self, vectors: Vector, count: int) -> np.ndarray:
        """Return the positions (Q, count) of the likely nearest vectors; `count` is at most their number."""
        found: np.ndarray = self._index.search(np.ascontiguousarray(vectors), count)[1]
        return found


def _empty(sample: Vector) -> Any:
    """Return an index without codes for vectors that are distributed like a sample (n, D)."""
    index = faiss.IndexRaBitQ(sample.shape[1], faiss.METRIC_INNER_PRODUCT)
    index.qb = _QUERY_BITS
    index.train(np.ascontiguousarray(sample))
    return index
