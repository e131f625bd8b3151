"""Which points the exact answer consists of; `oracle` says only how good its last one is."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cbir.evaluation.retrieval import neighbours
from cbir.records import Vector
from cbir.terminal import Advance

from ..parity.ranking import Ranking
from .workload import Subject

_CELLS = 2**22
_MARGIN = 16  # candidates beyond k, so that float32 rounding cannot push a true neighbour out before float64 decides


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


def angular(vectors: Vector, query: int, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return ann-benchmarks' angular distance, 1 - cosine, of some rows to the row `query`, in float64."""
    one, others = vectors[query].astype(np.float64), vectors[rows].astype(np.float64)
    return np.asarray(1 - others @ one / (np.linalg.norm(others, axis=1) * np.linalg.norm(one)))


def exact_neighbours(subject: Subject, advance: Advance) -> Neighbours:
    """Return the k + 1 nearest points of each query, itself among them; equal ones by row. `advance` hears of queries.

    Candidates come from float32 products, their order from float64.
    """
    vectors, queries, count = subject.truth.vectors, subject.truth.queries, subject.k + 1
    rows = np.empty((len(queries), count), np.int32)
    distances = np.empty((len(queries), count), np.float32)
    at_once = max(1, _CELLS // len(vectors))
    for start in range(0, len(queries), at_once):
        asked = queries[start : start + at_once]
        chosen = neighbours(vectors[asked], vectors, min(count + _MARGIN, len(vectors)))
        for at, (query, candidates) in enumerate(zip(asked.tolist(), chosen, strict=True), start):
            found = angular(vectors, query, candidates)
            order = np.lexsort((candidates, found))[:count]
            rows[at], distances[at] = candidates[order], found[order]
        advance(len(asked))
    return Neighbours(rows, distances)


def exact_rankings(subject: Subject, advance: Advance) -> list[Ranking]:
    """Return the k best of all points for each query by float64 score, then by id, the query itself left out."""
    ids = np.array(list(subject.truth.position))
    rankings = []
    for number, rows in enumerate(exact_neighbours(subject, advance).rows):
        others = ids[rows[rows != subject.truth.queries[number]]].tolist()
        ranked = sorted(
            zip(subject.truth.scores(number, others), others, strict=True), key=lambda one: (-one[0], one[1])
        )
        best = ranked[: subject.k]  # one more where the query itself was crowded out by its exact copies
        rankings.append(Ranking(tuple(id_ for _, id_ in best), tuple(score for score, _ in best)))
    return rankings
