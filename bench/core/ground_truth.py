"""The exact answer, from NumPy over all vectors and from no store."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from cbir.records import Vector

from ..parity.ranking import EPSILON

_CELLS = 2**22  # scores at a time: 16 MB of float32, and twice that for where the largest of them stand
_MARGIN = 16  # candidates beyond k, so that float32 rounding cannot push a true neighbour out before float64 decides


@dataclass(frozen=True)
class Truth:
    """The oracle's answers, the query itself always left out.

    Attributes:
        queries: (Q,) positions of the queries in the matrix.
        k: Neighbours asked for.
        threshold: (Q,) float64 score of the k-th neighbour.
        tied: (Q,) whether the next neighbour's score equals that of the k-th, so that the k best are not unique.
        position: Position of each id that may be a hit.
        vectors: (N, D) all vectors.
    """

    queries: npt.NDArray[np.int64]
    k: int
    threshold: npt.NDArray[np.float64]
    tied: npt.NDArray[np.bool_]
    position: dict[str, int]
    vectors: Vector

    def scores(self, query: int, ids: Sequence[str]) -> list[float]:
        """Return the float64 scores of points for the query number `query`."""
        positions = np.array([self.position[one] for one in ids], dtype=np.int64)
        return _exact(self.vectors, int(self.queries[query]), positions).tolist()  # type: ignore[no-any-return]


def answer(
    ids: Sequence[str],
    vectors: Vector,
    queries: npt.NDArray[np.int64],
    k: int,
    among: npt.NDArray[np.int64] | None = None,
) -> Truth:
    """Return the exact answers to `queries` (positions in `vectors`); needs more than k points to choose from.

    Candidates come from float32 products in blocks, their scores and the k-th among them from float64.

    Args:
        ids: Of all points.
        vectors: (N, D) their vectors.
        queries: (Q,) positions of those that are asked for.
        k: Neighbours of each.
        among: Positions of the points that may be hits; None: all.
    """
    rows = np.arange(len(ids)) if among is None else among
    pool = vectors if among is None else vectors[among]
    chosen = rows[_candidates(pool, vectors[queries], k + _MARGIN)]
    best = [
        -np.sort(-_exact(vectors, int(query), row[row != query])) for query, row in zip(queries, chosen, strict=True)
    ]
    threshold = np.array([scores[k - 1] for scores in best])
    beyond = np.array([scores[k] if len(scores) > k else -np.inf for scores in best])
    position = {ids[at]: at for at in rows.tolist()}
    return Truth(queries, k, threshold, threshold - beyond <= EPSILON, position, vectors)


def copies(vectors: Vector) -> int:
    """Return how many points have exactly the vector of an earlier point."""
    return len(vectors) - len({blake2b(row.tobytes(), digest_size=16).digest() for row in vectors})


def _candidates(vectors: Vector, asked: Vector, count: int) -> npt.NDArray[np.int64]:
    """Return for each query the rows of at least its `count` best vectors, the query itself among them."""
    rows = max(1, _CELLS // max(1, len(asked)))
    scores, positions = np.empty((len(asked), 0), np.float32), np.empty((len(asked), 0), np.int64)
    for start in range(0, len(vectors), rows):
        block = asked @ vectors[start : start + rows].T
        best = _largest(block, count + 1)
        scores = np.hstack([scores, np.take_along_axis(block, best, 1)])
        positions = np.hstack([positions, best + start])
        best = _largest(scores, count + 1)
        scores, positions = np.take_along_axis(scores, best, 1), np.take_along_axis(positions, best, 1)
    return positions


def _largest(scores: Vector, count: int) -> npt.NDArray[np.int64]:
    """Return for each row where its `count` largest scores stand, in any order."""
    if scores.shape[1] <= count:
        return np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    return np.argpartition(scores, scores.shape[1] - count, axis=1)[:, -count:]


def _exact(vectors: Vector, query: int, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return np.asarray(vectors[positions].astype(np.float64) @ vectors[query].astype(np.float64))
