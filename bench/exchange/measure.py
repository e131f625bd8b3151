"""Every store searched at several values of ef, with the results in the conventions of ann-benchmarks."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cbir.errors import CbirError
from cbir.progress import Advance
from cbir.stores.base import SearchParams

from ..core.ground_truth import Truth
from ..core.ranking import EPSILON
from ..core.stores import PARAMETERS, ef_values, kind_of, unique_names
from ..core.workload import Workload


@dataclass
class Case:
    """The store with a number in the workload at one value of ef or nprobe (None for a scan).

    `algorithm` and `parameters` are names in files and plots, such as "cbir-edge" and "graph_ef_128" or "scan". `rows`
    are those of each query's hits in the best round, and `rounds` the seconds of each search in each round; `failed`
    says why there are none.
    """

    number: int
    ef: int | None
    algorithm: str
    parameters: str
    rows: list[list[int]] = field(default_factory=list)
    rounds: list[list[float]] = field(default_factory=list)
    failed: str = ""

    @property
    def name(self) -> str:
        """The name of a plot's curve."""
        return f"{self.algorithm} {self.parameters}"

    @property
    def best_round(self) -> list[float]:
        """The seconds of each search in the round with the lowest mean."""
        return min(self.rounds, key=np.mean)


@dataclass(frozen=True)
class Neighbours:
    """The nearest points of each query, best first.

    `rows` (Q, k) are rows of the matrix of all points, `distances` (Q, k) are 1 - cosine. Where a point is missing they
    are -1 and inf.
    """

    rows: npt.NDArray[np.int32]
    distances: npt.NDArray[np.float32]


def neighbours(truth: Truth, found: Sequence[Sequence[int]]) -> Neighbours:
    """Return the rows found for each query with their exact distances."""
    shape = len(found), truth.k
    rows, distances = np.full(shape, -1, np.int32), np.full(shape, np.inf, np.float32)
    for number, (query, hits) in enumerate(zip(truth.queries, found, strict=True)):
        rows[number, : len(hits)] = hits
        distances[number, : len(hits)] = 1 - truth.vectors[list(hits)].astype(np.float64) @ query
    return Neighbours(rows, distances)


def exact_neighbours(truth: Truth) -> Neighbours:
    """Return the k nearest points of each query."""
    return neighbours(truth, truth.nearest.tolist())


def mean_recall(truth: Neighbours, found: Neighbours) -> float:
    """Return the share of hits that are at most `EPSILON` farther than the last true neighbour."""
    limits = truth.distances[:, -1:].astype(np.float64) + EPSILON
    return float((found.distances.astype(np.float64) <= limits).mean())


def cases(workload: Workload, wanted: Sequence[int]) -> list[Case]:
    """Return every store at the `wanted` values of ef, or at the usual ones."""
    names = unique_names([info.url for info in workload.infos], kind_of)
    return [
        Case(
            number=number,
            ef=ef,
            algorithm=f"cbir-{names[info.url]}".replace(" ", "-"),
            parameters=f"{info.access}_{PARAMETERS[info.access]}_{ef}" if ef else info.access,
        )
        for number, info in enumerate(workload.infos)
        for ef in ef_values(info, wanted, workload.k)
    ]


def measure(workload: Workload, cases: Sequence[Case], rounds: int, advance: Advance) -> None:
    """Search with all queries in every case, one query at a time, and add the results and times to the cases.

    After an untimed pass, all cases take turns, in a new random order each round. The results are those of the best
    round.
    """
    rng = np.random.default_rng(workload.seed)
    for number in range(1 + rounds):
        for index in rng.permutation(len(cases)).tolist():
            case = cases[index]
            try:
                if not case.failed:
                    rows, seconds = _search(workload, case)
                    if number:
                        case.rounds.append(seconds)
                        case.rows = rows if case.best_round is seconds else case.rows
            except CbirError as error:
                case.failed = str(error)
            advance(len(workload.vectors))


def _search(workload: Workload, case: Case) -> tuple[list[list[int]], list[float]]:
    store, position = workload.stores[case.number], workload.truth.position
    rows, spent = [], []
    for vector in workload.vectors:
        start = time.perf_counter()
        (hits,) = store.search(vector[None], workload.k, params=SearchParams(case.ef))
        spent.append(time.perf_counter() - start)
        ids = [hit.id for hit in hits]
        if len(set(ids)) < len(ids) or not position.keys() >= set(ids):
            raise CbirError(f"{store.info.url} returned a point twice, or one that it does not have.")
        rows.append([position[id_] for id_ in ids])
    return rows, spent
