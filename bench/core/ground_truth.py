"""The exact answer, from NumPy over all vectors and from no store."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from cbir.progress import Advance
from cbir.records import Vector

from .ranking import EPSILON, Ranking

_CELLS = 2**22  # scores at a time: 16 MB of float32, and twice that for where the largest of them stand
_MARGIN = 16  # candidates beyond k, so that float32 rounding cannot push a true neighbour out before float64 decides


@dataclass(frozen=True)
class Truth:
    """The exact answers, the query itself always left out.

    Attributes:
        queries: (Q,) positions of the queries in the matrix.
        threshold: (Q,) float64 score of the k-th neighbour.
        tied: (Q,) whether the next neighbour's score equals that of the k-th, so that the k best are not unique.
        position: Position of each id that may be a hit.
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


@dataclass(frozen=True)
class Neighbours:
    """Places of the points next to each query, best first.

    Attributes:
        rows: (Q, count) int32 rows in the matrix of all points; -1 where there is none.
        distances: (Q, count) float32 angular distances, 1 - cosine; inf where there is none.
    """

    rows: npt.NDArray[np.int32]
    distances: npt.NDArray[np.float32]

    @property
    def count(self) -> int:
        """Places of a query."""
        return int(self.rows.shape[1])


def answer(
    ids: Sequence[str],
    vectors: Vector,
    queries: npt.NDArray[np.int64],
    k: int,
    among: npt.NDArray[np.int64] | None = None,
) -> Truth:
    """Return the exact answers to `queries` (positions in `vectors`); needs more than k points to choose from.

    Candidates come from float32 products in blocks, their scores and the k-th among them from float64.
    `among` are the positions of the points that may be hits; None: all.
    """
    rows = np.arange(len(ids)) if among is None else among
    pool = vectors if among is None else vectors[among]
    chosen = rows[nearest_rows(lambda start, stop: pool[start:stop], len(pool), vectors[queries], k + _MARGIN + 1)]
    best = [
        -np.sort(-_exact(vectors, int(query), row[row != query])) for query, row in zip(queries, chosen, strict=True)
    ]
    threshold = np.array([scores[k - 1] for scores in best])
    beyond = np.array([scores[k] if len(scores) > k else -np.inf for scores in best])
    position = {ids[at]: at for at in rows.tolist()}
    return Truth(queries, k, threshold, threshold - beyond <= EPSILON, position, vectors)


def nearest_rows(
    block_of: Callable[[int, int], Vector], total: int, asked: Vector, count: int
) -> npt.NDArray[np.int64]:
    """Return the rows of the `count` vectors (all, if there are fewer) nearest to each query, in any order."""
    rows = max(1, _CELLS // max(1, len(asked)))
    scores, positions = np.empty((len(asked), 0), np.float32), np.empty((len(asked), 0), np.int64)
    for start in range(0, total, rows):
        block = asked @ block_of(start, start + rows).T
        best = _largest(block, count)
        scores = np.hstack([scores, np.take_along_axis(block, best, 1)])
        positions = np.hstack([positions, best + start])
        best = _largest(scores, count)
        scores, positions = np.take_along_axis(scores, best, 1), np.take_along_axis(positions, best, 1)
    return positions


def copies(vectors: Vector) -> int:
    """Return how many points have exactly the vector of an earlier point."""
    return len(vectors) - len({blake2b(row.tobytes(), digest_size=16).digest() for row in vectors})


def angular(vectors: Vector, query: int, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return ann-benchmarks' angular distance, 1 - cosine, of some rows to the row `query`, in float64."""
    one, others = vectors[query].astype(np.float64), vectors[rows].astype(np.float64)
    return np.asarray(1 - others @ one / (np.linalg.norm(others, axis=1) * np.linalg.norm(one)))


def exact_neighbours(truth: Truth, advance: Advance) -> Neighbours:
    """Return the k + 1 nearest points of each query, itself among them; equal ones by row. `advance` hears of queries.

    Candidates come from float32 products, their order from float64.
    """
    vectors, queries, count = truth.vectors, truth.queries, truth.k + 1
    rows = np.empty((len(queries), count), np.int32)
    distances = np.empty((len(queries), count), np.float32)
    chosen = nearest_rows(lambda start, stop: vectors[start:stop], len(vectors), vectors[queries], count + _MARGIN)
    for at, (query, candidates) in enumerate(zip(queries.tolist(), chosen, strict=True)):
        found = angular(vectors, query, candidates)
        order = np.lexsort((candidates, found))[:count]
        rows[at], distances[at] = candidates[order], found[order]
        advance(1)
    return Neighbours(rows, distances)


def exact_rankings(truth: Truth, advance: Advance) -> list[Ranking]:
    """Return the k best of all points for each query by float64 score, then by id, the query itself left out."""
    ids = np.array(list(truth.position))
    rankings = []
    for number, rows in enumerate(exact_neighbours(truth, advance).rows):
        others = ids[rows[rows != truth.queries[number]]].tolist()
        ranked = sorted(zip(truth.scores(number, others), others, strict=True), key=lambda one: (-one[0], one[1]))
        best = ranked[: truth.k]  # one more where the query itself was crowded out by its exact copies
        rankings.append(Ranking(tuple(id_ for _, id_ in best), tuple(score for score, _ in best)))
    return rankings


def _largest(scores: Vector, count: int) -> npt.NDArray[np.int64]:
    if scores.shape[1] <= count:
        return np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    return np.argpartition(scores, scores.shape[1] - count, axis=1)[:, -count:]


def _exact(vectors: Vector, query: int, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return np.asarray(vectors[positions].astype(np.float64) @ vectors[query].astype(np.float64))
