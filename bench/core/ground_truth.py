"""The exact neighbours of each query, computed by NumPy from all vectors and without any store."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from cbir.progress import Advance
from cbir.records import Vector

from .ranking import EPSILON

Indexes = npt.NDArray[np.int64]

_CELLS = 2**22  # scores at a time: 16 MB of float32, and twice that for the indexes of the largest ones
_MARGIN = 16  # more candidates than k, so that rounding to float32 cannot lose a true neighbour


@dataclass(frozen=True)
class Truth:
    """The exact neighbours of each query, without the query itself.

    `queries` (Q,) are indexes in the matrix `vectors`, `threshold` (Q,) is the float64 score of the k-th neighbour.
    `tied` (Q,) says whether the next neighbour has that score, too, so that the k best are not unique. `position` has
    the index of each id that may be a hit.
    """

    queries: Indexes
    k: int
    threshold: npt.NDArray[np.float64]
    tied: npt.NDArray[np.bool_]
    position: dict[str, int]
    vectors: Vector

    def scores(self, query: int, ids: Sequence[str]) -> list[float]:
        """Return the float64 scores of points for the query number `query`."""
        rows = np.array([self.position[id_] for id_ in ids], dtype=np.int64)
        return _exact_scores(self.vectors, int(self.queries[query]), rows).tolist()  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Neighbours:
    """The nearest points of each query, best first.

    `rows` (Q, count) are rows of the matrix of all points, `distances` (Q, count) are 1 - cosine. Where a point is
    missing they are -1 and inf.
    """

    rows: npt.NDArray[np.int32]
    distances: npt.NDArray[np.float32]

    @property
    def count(self) -> int:
        """Number of points for each query."""
        return int(self.rows.shape[1])


def ground_truth(ids: Sequence[str], vectors: Vector, queries: Indexes, k: int, pool: Indexes | None = None) -> Truth:
    """Return the exact neighbours of `queries`, which are rows of `vectors`.

    `pool` has the rows of the points that may be hits, more than k of them; None means all.
    """
    rows = np.arange(len(ids)) if pool is None else pool
    candidates = vectors if pool is None else vectors[pool]
    count = k + _MARGIN + 1
    chosen = rows[nearest_rows(lambda start, stop: candidates[start:stop], len(rows), vectors[queries], count)]
    best = [
        -np.sort(-_exact_scores(vectors, int(query), row[row != query]))
        for query, row in zip(queries, chosen, strict=True)
    ]
    threshold = np.array([scores[k - 1] for scores in best])
    following = np.array([scores[k] if len(scores) > k else -np.inf for scores in best])
    position = {ids[row]: row for row in rows.tolist()}
    return Truth(queries, k, threshold, threshold - following <= EPSILON, position, vectors)


def nearest_rows(block_of: Callable[[int, int], Vector], total: int, queries: Vector, count: int) -> Indexes:
    """Return the rows of the `count` vectors (all, if there are fewer) nearest to each query, in any order."""
    rows = max(1, _CELLS // max(1, len(queries)))
    scores, positions = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    for start in range(0, total, rows):
        block = queries @ block_of(start, start + rows).T
        best = _largest(block, count)
        scores = np.hstack([scores, np.take_along_axis(block, best, 1)])
        positions = np.hstack([positions, best + start])
        best = _largest(scores, count)
        scores, positions = np.take_along_axis(scores, best, 1), np.take_along_axis(positions, best, 1)
    return positions


def count_copies(vectors: Vector) -> int:
    """Return how many points have exactly the vector of an earlier point."""
    return len(vectors) - len({blake2b(row.tobytes(), digest_size=16).digest() for row in vectors})


def angular(vectors: Vector, query: int, rows: Indexes) -> npt.NDArray[np.float64]:
    """Return ann-benchmarks' angular distance, 1 - cosine, of some rows to the row `query`, in float64."""
    vector, others = vectors[query].astype(np.float64), vectors[rows].astype(np.float64)
    return np.asarray(1 - others @ vector / (np.linalg.norm(others, axis=1) * np.linalg.norm(vector)))


def exact_neighbours(truth: Truth, advance: Advance = lambda done: None) -> Neighbours:
    """Return the k + 1 nearest points of each query, the query included; equal ones are ordered by row.

    The candidates are found in float32 and ordered in float64. `advance` is called with 1 after each query.
    """
    vectors, queries, count = truth.vectors, truth.queries, truth.k + 1
    rows = np.empty((len(queries), count), np.int32)
    distances = np.empty((len(queries), count), np.float32)
    chosen = nearest_rows(lambda start, stop: vectors[start:stop], len(vectors), vectors[queries], count + _MARGIN)
    for i, (query, candidates) in enumerate(zip(queries.tolist(), chosen, strict=True)):
        found = angular(vectors, query, candidates)
        order = np.lexsort((candidates, found))[:count]
        rows[i], distances[i] = candidates[order], found[order]
        advance(1)
    return Neighbours(rows, distances)


def _largest(scores: Vector, count: int) -> Indexes:
    if scores.shape[1] <= count:
        return np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    return np.argpartition(scores, scores.shape[1] - count, axis=1)[:, -count:]


def _exact_scores(vectors: Vector, query: int, rows: Indexes) -> npt.NDArray[np.float64]:
    return np.asarray(vectors[rows].astype(np.float64) @ vectors[query].astype(np.float64))
