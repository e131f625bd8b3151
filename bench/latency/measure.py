"""Recall against speed: each store at every ef, alone and among other clients, with a filter and without.

A latency means nothing without the recall of the same searches, so both are measured together.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from cbir.errors import CbirError
from cbir.filters.conditions import Match, Value, matches
from cbir.progress import Advance
from cbir.records import Vector
from cbir.search.query import entries
from cbir.stores.base import SearchParams, StoreInfo

from ..core.ground_truth import ground_truth
from ..core.metrics import Summary, summarise
from ..core.stores import PARAMETERS, bare_search, default_ef, ef_values
from ..core.timing import Noise, NoiseMeter, Spread, Times, spread, timed, times
from ..core.workload import ORDINARY, Workload, recalls_of, search_all

SHARES = (0.02, 0.40)
"""Shares of the points: a class so small that a graph hardly finds it, and one that is nearly half of everything."""


@dataclass(frozen=True)
class Class:
    """Points that have one value in a payload field, and the workload whose ground truth is among them alone."""

    field: str
    value: Value
    points: int
    share: float
    workload: Workload


@dataclass(frozen=True)
class ClosedLoop:
    """Client threads, each with one search after the other."""

    threads: int
    searches_per_second: Spread
    search_ms: Times


@dataclass(frozen=True)
class Filtered:
    """Searches within a class (see `Class`); `ratio` is their median by that of the unfiltered search."""

    field: str
    value: Value
    points: int
    share: float
    ann_recall_at_k: Summary
    search_ms: Times
    ratio: float


@dataclass(frozen=True)
class Point:
    """One store at one ef.

    Attributes:
        ef: The ef of a graph or the nprobe of inverted lists; None for a scan.
        search_ms: A search through the store protocol by one client, in turns with the raw and the filtered ones.
        medians_ms: Its median in each round.
        raw_ms: The engine's own call with the same parameters; None for a server.
        ratio: Median of `search_ms` by that of `raw_ms`.
        loads: Searches through the store protocol, by the number of client threads.
        on_front: Whether no other ef of this store has both more recall and more searches a second.
    """

    ef: int | None
    ann_recall_at_k: Summary
    search_ms: Times
    medians_ms: Spread
    raw_ms: Times | None
    ratio: float | None
    loads: list[ClosedLoop]
    filtered: list[Filtered]
    on_front: bool = False

    @property
    def recall(self) -> float:
        """The mean recall."""
        return self.ann_recall_at_k.mean or 0.0

    @property
    def front_mark(self) -> str:
        """A star if it is on the front."""
        return "*" if self.on_front else ""


@dataclass(frozen=True)
class Curve:
    """One store at every ef.

    Attributes:
        parameter: "ef", "nprobe", or "" for a scan.
        default: Its value if a search does not name one.
        failures: Why an ef could not be measured.
    """

    store: str
    access: str
    parameter: str
    default: int | None
    points: list[Point]
    failures: list[str]

    @property
    def default_point(self) -> Point | None:
        """The measured point nearest to the default; None if all failed."""
        return min(self.points, key=lambda point: abs((point.ef or 0) - (self.default or 0)), default=None)

    def fastest_at(self, recall: float) -> Point | None:
        """Return the fastest point with at least this recall."""
        reached = (point for point in self.points if point.recall >= recall)
        return min(reached, key=lambda point: point.search_ms.median, default=None)


@dataclass
class _Case:
    """The store number `index` at one ef, and what the rounds have measured.

    Attributes:
        singles: Milliseconds of each query by round and call: unfiltered, within each class, raw.
        loads: Milliseconds of each search, and searches a second, by round and number of threads.
    """

    workload: Workload
    classes: Sequence[Class]
    threads: Sequence[int]
    index: int
    ef: int | None
    recalls: list[Summary] = field(default_factory=list)
    singles: list[list[list[float]]] = field(default_factory=list)
    loads: list[list[tuple[list[float], float]]] = field(default_factory=list)
    failed: str = ""

    def attempt(self, step: Callable[..., None], *arguments: Any) -> None:
        """Call a step unless an earlier one failed, and note its failure."""
        try:
            if not self.failed:
                step(*arguments)
        except CbirError as error:
            self.failed = str(error)

    def measure_recall(self, advance: Advance) -> None:
        """Search untimed for the recall, also within each class. This warms up."""
        for workload in (self.workload, *(part.workload for part in self.classes)):
            answers = search_all(workload, workload.stores[self.index], ORDINARY, advance, self.ef)
            self.recalls.append(summarise(recalls_of(workload, answers.rankings), workload.named_queries))

    def measure_times(self, rng: np.random.Generator, advance: Advance) -> None:
        """Time all queries once."""
        self.loads.append([self._at_once(count, advance) for count in self.threads])
        self.singles.append(self._in_turns(rng, advance))

    def point(self) -> Point:
        """Return the summary of all rounds."""
        search, *others = [times(list(chain(*rounds))) for rounds in zip(*self.singles, strict=True)]
        raw = others[len(self.classes)] if len(others) > len(self.classes) else None
        filtered = [
            Filtered(part.field, part.value, part.points, part.share, recall, spent, spent.median / search.median)
            for part, recall, spent in zip(self.classes, self.recalls[1:], others, strict=False)
        ]
        loads = [
            ClosedLoop(count, spread([rate for _, rate in rounds]), times(list(chain(*(spent for spent, _ in rounds)))))
            for count, rounds in zip(self.threads, zip(*self.loads, strict=True), strict=True)
        ]
        return Point(
            ef=self.ef,
            ann_recall_at_k=self.recalls[0],
            search_ms=search,
            medians_ms=spread([float(np.median(calls[0])) for calls in self.singles]),
            raw_ms=raw,
            ratio=search.median / raw.median if raw else None,
            loads=loads,
            filtered=filtered,
        )

    def _search(self, vector: Vector) -> Callable[..., object]:
        params = SearchParams(self.ef)
        return partial(self.workload.stores[self.index].search, vector[None], self.workload.k, params=params)

    def _in_turns(self, rng: np.random.Generator, advance: Advance) -> list[list[float]]:
        """Return the milliseconds of every query by call.

        The calls of a query come in a random order, because each leaves data in the caches that the next one needs.
        """
        spent: list[list[float]] = []
        for vector in self.workload.vectors:
            search = self._search(vector)
            calls = [search, *(partial(search, filter=part.workload.filter) for part in self.classes)]
            if bare := bare_search(self.workload.stores[self.index], vector, self.workload.k, self.ef):
                calls.append(bare)
            spent = spent or [[] for _ in calls]
            for i in rng.permutation(len(calls)).tolist():
                spent[i].append(timed(calls[i]))
            advance(1)
        return spent

    def _at_once(self, threads: int, advance: Advance) -> tuple[list[float], float]:
        """Return the milliseconds of each search by clients that share the queries, and the searches a second."""

        def client(number: int) -> list[float]:
            return [timed(self._search(vector)) for vector in self.workload.vectors[number::threads]]

        with ThreadPoolExecutor(threads) as pool:
            start = time.perf_counter()
            spent = list(chain(*pool.map(client, range(threads))))
            seconds = time.perf_counter() - start
        advance(len(spent))
        return spent, len(spent) / seconds


def steps(workload: Workload, wanted: Sequence[int], classes: int, threads: Sequence[int], rounds: int) -> int:
    """Return how many searches `measure` reports, all calls of a query in turn counted as one."""
    cases = sum(len(ef_values(info, wanted, workload.k)) for info in workload.infos)
    return len(workload.queries) * cases * (1 + classes + rounds * (1 + len(threads)))


def measure(
    workload: Workload,
    wanted: Sequence[int],
    classes: Sequence[Class],
    threads: Sequence[int],
    rounds: int,
    advance: Advance,
) -> tuple[list[Curve], Noise]:
    """Return the curve of every store, and how noisy the machine was.

    An untimed pass of all queries gives the recall and warms up. Then all stores and values of ef take turns, in a new
    random order each round, so that whatever else the machine does affects all alike.
    """
    cases = [
        _Case(workload, classes, threads, i, ef)
        for i, info in enumerate(workload.infos)
        for ef in ef_values(info, wanted, workload.k)
    ]
    for case in cases:
        case.attempt(case.measure_recall, advance)
    rng = np.random.default_rng(workload.seed)
    meter = NoiseMeter()
    for _ in range(rounds):
        for i in rng.permutation(len(cases)).tolist():
            cases[i].attempt(cases[i].measure_times, rng, advance)
        meter.look()
    curves = [_curve(info, [case for case in cases if case.index == i]) for i, info in enumerate(workload.infos)]
    return curves, meter.noise()


def _curve(info: StoreInfo, cases: Sequence[_Case]) -> Curve:
    parameter = PARAMETERS.get(info.access, "")
    points = mark_front([case.point() for case in cases if not case.failed])
    failures = [f"{parameter} {case.ef or ''}: {case.failed}".strip() for case in cases if case.failed]
    return Curve(info.url, info.access, parameter, default_ef(info), points, failures)


def mark_front(points: Sequence[Point]) -> list[Point]:
    """Return the points with `on_front` set."""
    places = [(point.recall, -point.search_ms.median) for point in points]

    def is_beaten(place: tuple[float, float]) -> bool:
        return any(other != place and other[0] >= place[0] and other[1] >= place[1] for other in places)

    return [replace(point, on_front=not is_beaten(place)) for point, place in zip(points, places, strict=True)]


def choose_classes(workload: Workload, field: str) -> list[Class]:
    """Return the class nearest to each of `SHARES`; none if no value of the field has more than k points.

    Which points are in a class is read from their payloads, not with any store's filter.
    """
    total = workload.infos[0].count
    counts = [(value, count) for value, count in workload.stores[0].facet(field) if count > workload.k]
    if not counts:
        return []
    chosen = [min(counts, key=lambda pair: abs(pair[1] / total - share))[0] for share in SHARES]
    payloads = {entry.id: entry.payload for entry in entries(workload.stores[0])}
    ids = list(workload.truth.position)
    classes = []
    for value in dict.fromkeys(chosen):
        condition = (Match(field, (value,)),)
        rows = np.flatnonzero([matches(payloads[id_], condition) for id_ in ids])
        truth = ground_truth(ids, workload.truth.vectors, workload.truth.queries, workload.k, rows)
        within = replace(workload, truth=truth, filter=condition)
        classes.append(Class(field, value, len(rows), len(rows) / total, within))
    return classes
