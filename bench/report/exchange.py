"""Vectors, exact neighbours and the stores' answers in the conventions of other benchmarks.

ann-benchmarks has no notion of a query that is itself stored. Here all points are in `train`, the queries are copied
from it, and both the exact neighbours and the stores' answers count the query itself as one of the `count` places.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cbir.errors import CbirError
from cbir.stores.base import StoreInfo, locate, parse
from cbir.terminal import Advance

from ..core.nearest import Neighbours, angular
from ..core.workload import Subject
from ..latency.sweep import KNOBS, efforts_of
from ..parity.ranking import recall
from .report import labels

ANN_EPSILON = 1e-3


@dataclass(frozen=True)
class Run:
    """One store at one width of search.

    Attributes:
        store: Its URL.
        algorithm: See `Case`.
        parameters: See `Case`.
        found: Its answers.
        seconds: (Q,) of each search, of the round with the lowest mean.
        mean_seconds: Of a search in each round.
        index_kilobytes: Files of the index; None for a server.
    """

    store: str
    algorithm: str
    parameters: str
    found: Neighbours
    seconds: npt.NDArray[np.float64]
    mean_seconds: list[float]
    index_kilobytes: float | None


@dataclass(frozen=True)
class Failed:
    """A store at a width of search that has no figures, and why."""

    store: str
    parameters: str
    failed: str


@dataclass(frozen=True)
class Case:
    """A store by its number, a width of search, and what both are called in files and plots.

    Attributes:
        at: Number of the store.
        effort: See `Store.search`.
        algorithm: Such as "cbir-edge".
        parameters: Such as "graph_ef_128" or "scan".
    """

    at: int
    effort: int | None
    algorithm: str
    parameters: str


@dataclass
class _Turns:
    """What the rounds of a case have brought: its answers, and the seconds of each search in each round."""

    case: Case
    rows: list[list[int]] = field(default_factory=list)
    rounds: list[list[float]] = field(default_factory=list)
    failed: str = ""


def mean_recall(truth: Neighbours, found: Neighbours, epsilon: float) -> float:
    """Return the mean over the queries of `recalls`."""
    return float(np.mean(recalls(truth, found, epsilon)))


def recalls(truth: Neighbours, found: Neighbours, epsilon: float) -> list[float]:
    """Return each query's recall, by the distance of the last true neighbour plus `epsilon` as in ann-benchmarks."""
    return [
        recall((-row).tolist(), -float(last), truth.count, epsilon)
        for row, last in zip(found.distances, truth.distances[:, -1], strict=True)
    ]


def cases(subject: Subject, wanted: Sequence[int]) -> list[Case]:
    """Return every store at the widths that are wanted (the usual ones, if none are); the query is one of its hits."""
    names = labels(subject.infos)
    return [
        Case(
            at=at,
            effort=effort,
            algorithm=f"cbir-{names[info.url]}".replace(" ", "-"),
            parameters=f"{info.access}_{KNOBS[info.access]}_{effort}" if effort else info.access,
        )
        for at, info in enumerate(subject.infos)
        for effort in efforts_of(info, wanted, subject.k)
    ]


def measure(subject: Subject, asked: Sequence[Case], rounds: int, advance: Advance) -> tuple[list[Run], list[Failed]]:
    """Return the answers and times of every store at every width of search, one query at a time by one client.

    An untimed pass of all queries gives the answers and warms up. Then all stores and widths take turns, in each round
    in an order drawn anew.
    """
    turns = [_Turns(case) for case in asked]
    rng = np.random.default_rng(subject.seed)
    for number in range(1 + rounds):
        for at in rng.permutation(len(turns)).tolist():
            one = turns[at]
            try:
                if not one.failed:
                    _turn(subject, one, timed=number > 0)
            except CbirError as error:
                one.failed = str(error)
            advance(len(subject.queries))
    failed = [Failed(subject.infos[one.case.at].url, one.case.parameters, one.failed) for one in turns if one.failed]
    return [_run(subject, one) for one in turns if not one.failed], failed


def _run(subject: Subject, turns: _Turns) -> Run:
    info, case = subject.infos[turns.case.at], turns.case
    means = [float(np.mean(spent)) for spent in turns.rounds]
    best = np.array(turns.rounds[int(np.argmin(means))])
    return Run(info.url, case.algorithm, case.parameters, _padded(subject, turns.rows), best, means, _size(info))


def _turn(subject: Subject, turns: _Turns, timed: bool) -> None:
    store, position = subject.stores[turns.case.at], subject.truth.position
    rows, spent = [], []
    for vector in subject.vectors:
        start = time.perf_counter()
        (hits,) = store.search(vector[None], subject.k + 1, effort=turns.case.effort)
        spent.append(time.perf_counter() - start)
        ids = [hit.id for hit in hits]
        if len(set(ids)) < len(ids) or not position.keys() >= set(ids):
            raise CbirError(f"{store.info.url} returned a point twice, or one that it does not have")
        rows.append([position[one] for one in ids])
    if timed:
        turns.rounds.append(spent)
    else:
        turns.rows = rows


def _padded(subject: Subject, found: Sequence[Sequence[int]]) -> Neighbours:
    count = subject.k + 1
    rows = np.full((len(found), count), -1, np.int32)
    distances = np.full((len(found), count), np.inf, np.float32)
    for at, (query, one) in enumerate(zip(subject.truth.queries.tolist(), found, strict=True)):
        rows[at, : len(one)] = one
        distances[at, : len(one)] = angular(subject.truth.vectors, query, np.array(one, np.int64))
    return Neighbours(rows, distances)


def _size(info: StoreInfo) -> float | None:
    url = parse(info.url)
    if not url.embedded:
        return None
    (place,) = locate([url])
    folder: Path = place.root / info.collection / info.generation / place.name
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1000
