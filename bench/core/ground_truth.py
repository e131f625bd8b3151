"""The exact neighbours of each query, computed by NumPy from all vectors and without any store."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from cbir.evaluation.retrieval import neighbours
from cbir.records import Vector

from .ranking import EPSILON

Indexes = npt.NDArray[np.int64]

_MARGIN = 16  # more candidates than k, so that rounding to float32 cannot lose a true neighbour


@dataclass(frozen=True)
class Truth:
    """The exact neighbours of each query.

    `queries` (Q, D) are vectors, and `nearest` (Q, k), best first, are rows of `vectors`. `threshold` (Q,) is the
    float64 score of the k-th neighbour, and `tied` whether the next one has it, too. `position` has the row of each id
    that may be a hit.
    """

    queries: Vector
    k: int
    nearest: Indexes
    threshold: npt.NDArray[np.float64]
    tied: npt.NDArray[np.bool_]
    position: dict[str, int]
    vectors: Vector

    def scores(self, query: int, ids: Sequence[str]) -> list[float]:
        """Return the float64 scores of points for the query number `query`."""
        rows = np.array([self.position[id_] for id_ in ids], dtype=np.int64)
        return _exact_scores(self.vectors[rows], self.queries[query]).tolist()  # type: ignore[no-any-return]


def ground_truth(ids: Sequence[str], vectors: Vector, queries: Vector, k: int, pool: Indexes | None = None) -> Truth:
    """Return the exact neighbours of queries among the rows `pool` of `vectors` (None: all), at least k of them."""
    rows = np.arange(len(ids)) if pool is None else pool
    candidates = rows[neighbours(queries, vectors if pool is None else vectors[pool], min(k + _MARGIN, len(rows)))]
    nearest, best = [], []
    for query, near in zip(queries, candidates, strict=True):
        scores = _exact_scores(vectors[near], query)
        order = np.lexsort((near, -scores))
        nearest.append(near[order][:k])
        best.append(scores[order])
    threshold = np.array([scores[k - 1] for scores in best])
    following = np.array([scores[k] if len(scores) > k else -np.inf for scores in best])
    position = {ids[row]: row for row in rows.tolist()}
    return Truth(queries, k, np.array(nearest), threshold, threshold - following <= EPSILON, position, vectors)


def count_copies(vectors: Vector) -> int:
    """Return how many points have exactly the vector of an earlier point."""
    return len(vectors) - len({blake2b(row.tobytes(), digest_size=16).digest() for row in vectors})


def _exact_scores(vectors: Vector, query: Vector) -> npt.NDArray[np.float64]:
    return np.asarray(vectors.astype(np.float64) @ query.astype(np.float64))
