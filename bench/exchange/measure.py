"""Vectors, exact neighbours and the stores' answers in the conventions of other benchmarks.

ann-benchmarks has no notion of a query that is itself stored. Here all points are in `train`, the queries are copied
from it, and both the exact neighbours and the stores' answers count the query itself as one of the `count` places.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from cbir.errors import CbirError
from cbir.progress import Advance
from cbir.stores.base import SearchParams

from ..core.ground_truth import Neighbours, angular
from ..core.ranking import recall
from ..core.stores import PARAMETERS, ef_values, labels
from ..core.workload import Workload

ANN_EPSILON = 1e-3


@dataclass
class Case:
    """A store at one width of search, what both are called in files and plots, and what the rounds have brought.

    Attributes:
        algorithm: Such as "cbir-edge".
        parameters: Such as "graph_ef_128" or "scan".
        rows: Positions of each query's hits.
        rounds: Seconds of each search in each round.
    """

    at: int
    effort: int | None
    store: str
    algorithm: str
    parameters: str
    rows: list[list[int]] = field(default_factory=list)
    rounds: list[list[float]] = field(default_factory=list)
    failed: str = ""

    @property
    def best_round(self) -> list[float]:
        """Seconds of each search of the round with the lowest mean."""
        return min(self.rounds, key=np.mean)

    def found(self, workload: Workload) -> Neighbours:
        """Return the hits with their distances, padded where there are too few."""
        count = workload.k + 1
        rows = np.full((len(self.rows), count), -1, np.int32)
        distances = np.full((len(self.rows), count), np.inf, np.float32)
        for at, (query, hits) in enumerate(zip(workload.truth.queries.tolist(), self.rows, strict=True)):
            rows[at, : len(hits)] = hits
            distances[at, : len(hits)] = angular(workload.truth.vectors, query, np.array(hits, np.int64))
        return Neighbours(rows, distances)


def mean_recall(truth: Neighbours, found: Neighbours, epsilon: float) -> float:
    """Return the mean recall, by the distance of the last true neighbour plus `epsilon` as in ann-benchmarks."""
    pairs = zip(found.distances, truth.distances[:, -1], strict=True)
    return float(np.mean([recall((-row).tolist(), -float(last), truth.count, epsilon) for row, last in pairs]))


def cases(workload: Workload, wanted: Sequence[int]) -> list[Case]:
    """Return every store at the widths that are wanted (the usual ones, if none are); the query is one of its hits."""
    names = labels(workload.infos)
    return [
        Case(
            at=at,
            effort=effort,
            store=info.url,
            algorithm=f"cbir-{names[info.url]}".replace(" ", "-"),
            parameters=f"{info.access}_{PARAMETERS[info.access]}_{effort}" if effort else info.access,
        )
        for at, info in enumerate(workload.infos)
        for effort in ef_values(info, wanted, workload.k)
    ]


def measure(workload: Workload, asked: Sequence[Case], rounds: int, advance: Advance) -> tuple[list[Case], list[Case]]:
    """Ask every store at every width of search, one query at a time by one client; return the good, and the failed.

    An untimed pass of all queries gives the answers and warms up. Then all stores and widths take turns, in each round
    in an order drawn anew.
    """
    rng = np.random.default_rng(workload.seed)
    for number in range(1 + rounds):
        for at in rng.permutation(len(asked)).tolist():
            case = asked[at]
            try:
                if not case.failed:
                    rows, spent = _search(workload, case)
                    if number:
                        case.rounds.append(spent)
                    else:
                        case.rows = rows
            except CbirError as error:
                case.failed = str(error)
            advance(len(workload.queries))
    return [case for case in asked if not case.failed], [case for case in asked if case.failed]


def _search(workload: Workload, case: Case) -> tuple[list[list[int]], list[float]]:
    store, position = workload.stores[case.at], workload.truth.position
    rows, spent = [], []
    for vector in workload.vectors:
        start = time.perf_counter()
        (hits,) = store.search(vector[None], workload.k + 1, params=SearchParams(case.effort))
        spent.append(time.perf_counter() - start)
        ids = [hit.id for hit in hits]
        if len(set(ids)) < len(ids) or not position.keys() >= set(ids):
            raise CbirError(f"{case.store} returned a point twice, or one that it does not have")
        rows.append([position[one] for one in ids])
    return rows, spent
