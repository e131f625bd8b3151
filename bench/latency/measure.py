"""Recall against speed of the same searches: each store at every ef, alone and among other clients, with filters."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any

import numpy as np

from cbir import terminal
from cbir.errors import CbirError
from cbir.filters.conditions import Match, matches
from cbir.records import Hit, Vector
from cbir.search.query import entries
from cbir.stores.base import SearchParams, Store, StoreInfo
from cbir.tables import Column, Range

from ..core.ground_truth import ground_truth
from ..core.metrics import Summary, summarise
from ..core.ranking import Ranking
from ..core.rows import RECALL, time_columns
from ..core.stores import PARAMETERS, bare_search, default_ef, ef_values
from ..core.timing import Noise, NoiseMeter, Times, spread, timed_answer, times
from ..core.workload import Workload, ranking_of, recalls_of
from .loops import ClosedLoop, Moments, Rate, closed_loop, open_loop, run
from .opening import Opening, Size
from .stages import Stages

SHARES = (0.02, 0.40)
"""Shares of the points: a class so small that a graph hardly finds it, and one that is nearly half of everything."""


@dataclass(frozen=True)
class Filtered:
    """Searches with a filter that a share of the points pass; `ratio` is by the median of the unfiltered search."""

    filter: str
    share: Annotated[float, Column("points", format=".1%")]
    ann_recall_at_k: Annotated[Summary, RECALL]
    search_ms: Annotated[Times, time_columns("median", "p95", "p99")]
    ratio: Annotated[float, Column("/ unfiltered", format=".2f")]


@dataclass(frozen=True)
class Point:
    """One store at one ef, or nprobe; None for a scan. On the front, no other has more recall and a lower median.

    One client searches, in turns with the engine's own call (`raw_ms`, None for a server) and the filtered searches.
    The recall is that of the timed searches. `rounds_ms` has the median of each round, `medians_ms` their spread, and
    `ratio` is the median by that of the engine's own call.
    """

    ef: int | None
    on_front: Annotated[bool, Column("front")]
    ann_recall_at_k: Annotated[Summary, RECALL]
    medians_ms: Annotated[Range, Column("median", "ms", ".3g", better="lower")]
    search_ms: Annotated[Times, time_columns("p95", "p99", "p999")]
    raw_ms: Annotated[Times | None, [(Column("raw", "ms", ".3g"), "median")]]
    ratio: Annotated[float | None, Column("/ raw", format=".2f")]
    loads: list[ClosedLoop]
    filtered: list[Filtered]
    rounds_ms: list[float] = field(default_factory=list)

    @property
    def recall(self) -> float:
        """The mean recall."""
        return self.ann_recall_at_k.mean or 0.0


@dataclass(frozen=True)
class Curve:
    """One store at every value of its `parameter` ("ef", "nprobe", or "" for a scan), and what else was measured of it.

    The open loop is at the `default`. A server has no opening and size. `failures` say what was not measured, and why.
    """

    store: str
    parameter: str
    default: int | None
    points: list[Point]
    failures: list[str]
    rates: list[Rate] = field(default_factory=list)
    opening: Opening | None = None
    size: Size | None = None
    stages: Stages | None = None

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
    """One store at one ef, and what the rounds have measured.

    `parts` are the workload without a filter ("") and with each, and `recalls` those of all timed searches by part.
    `singles` are milliseconds by call (unfiltered, with each filter, raw) and query in each round, and `loads` the
    searches of each round by the number of threads.
    """

    store: Store
    ef: int | None
    parts: Mapping[str, Workload]
    loads: dict[int, list[Moments]]
    recalls: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    singles: list[np.ndarray] = field(default_factory=list)
    failed: str = ""

    def take_turn(self, number: int, rng: np.random.Generator) -> None:
        """Search with all queries: untimed in turn 0, to warm up, and against the clock in the others.

        A failure is final.
        """
        try:
            if not self.failed:
                self._search_alone(rng) if number == 0 else self._time(rng)
        except CbirError as error:
            self.failed = str(error)

    def point(self) -> Point:
        """Return the summary of all rounds."""
        search, *others = map(times, np.concatenate(self.singles, axis=1))
        raw = others[-1] if len(others) == len(self.parts) else None
        points = len(self.parts[""].truth.vectors)
        filtered = [
            Filtered(
                name,
                len(part.truth.position) / points,
                summarise(self.recalls[name]),
                spent,
                spent.median / search.median,
            )
            for (name, part), spent in zip(self.parts.items(), [search, *others], strict=False)
            if name
        ]
        medians = [float(np.median(calls[0])) for calls in self.singles]
        return Point(
            ef=self.ef,
            on_front=False,
            ann_recall_at_k=summarise(self.recalls[""]),
            search_ms=search,
            medians_ms=spread(medians),
            raw_ms=raw,
            ratio=search.median / raw.median if raw else None,
            loads=[closed_loop(threads, rounds) for threads, rounds in self.loads.items()],
            filtered=filtered,
            rounds_ms=medians,
        )

    def _time(self, rng: np.random.Generator) -> None:
        """Search with all queries once among other clients, and once alone."""
        vectors = self.parts[""].vectors
        for threads, rounds in self.loads.items():
            rounds.append(run(lambda number: self._search(vectors[number])(), np.zeros(len(vectors)), threads))
        spent, recalls = self._search_alone(rng)
        self.singles.append(spent)
        for name, values in recalls.items():
            self.recalls[name] += values

    def _search_alone(self, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, list[float]]]:
        """Return the milliseconds by call and query, and the recall of the very same searches by part.

        The calls of a query come in a random order, because each leaves data in the caches that the next one needs.
        """
        spent, found = [], dict[str, list[Ranking]]({name: [] for name in self.parts})
        for vector in self.parts[""].vectors:
            calls: list[Callable[[], Any]] = [
                partial(self._search(vector), filter=part.filter) for part in self.parts.values()
            ]
            if raw := bare_search(self.store, vector, self.parts[""].k, self.ef):
                calls.append(raw)
            order = rng.permutation(len(calls))
            answers = {i: timed_answer(calls[i]) for i in order.tolist()}
            spent.append([answers[i][0] for i in range(len(calls))])
            for i, (name, part) in enumerate(self.parts.items()):
                found[name].append(ranking_of(part, self.store, answers[i][1][0]))
        return np.transpose(spent), {name: recalls_of(part, found[name]) for name, part in self.parts.items()}

    def _search(self, vector: Vector) -> Callable[..., list[list[Hit]]]:
        return partial(self.store.search, vector[None], self.parts[""].k, params=SearchParams(self.ef))


def measure(
    workload: Workload, wanted: Sequence[int], classes: Mapping[str, Workload], threads: Sequence[int], rounds: int
) -> tuple[list[Curve], Noise]:
    """Return the curve of every store, and how noisy the machine was.

    After an untimed pass of all queries, all stores and values of ef take turns, in a new random order each round, so
    that whatever else the machine does affects all alike.
    """
    parts = {"": workload, **classes}
    by_store = [
        [_Case(store, ef, parts, {count: [] for count in threads}) for ef in ef_values(info, wanted, workload.k)]
        for store, info in zip(workload.stores, workload.infos, strict=True)
    ]
    cases = [case for cases in by_store for case in cases]
    rng = np.random.default_rng(workload.seed)
    meter = NoiseMeter()
    with terminal.progress("every ef", (1 + rounds) * len(cases), "turns") as advance:
        for number in range(1 + rounds):
            for i in rng.permutation(len(cases)).tolist():
                cases[i].take_turn(number, rng)
                advance(1)
            meter.look()
    return [_curve(info, cases) for info, cases in zip(workload.infos, by_store, strict=True)], meter.noise()


def at_rates(curve: Curve, workload: Workload, index: int, threads: int, seconds: float) -> Curve:
    """Return the curve of the store number `index` with its open loop, each rate for some seconds."""
    vectors, store = workload.vectors, workload.stores[index]

    def search(number: int) -> object:
        return store.search(vectors[number % len(vectors)][None], workload.k)

    loads = curve.default_point.loads if curve.default_point and seconds else []
    best = max((load.searches_per_second.value for load in loads), default=0.0)
    rates, failures = open_loop(search, best, threads, seconds, workload.seed)
    return replace(curve, rates=rates, failures=[*curve.failures, *failures])


def _curve(info: StoreInfo, cases: Sequence[_Case]) -> Curve:
    parameter = PARAMETERS.get(info.access, "")
    points = mark_front([case.point() for case in cases if not case.failed])
    failures = [f"{parameter} {case.ef or ''}: {case.failed}".strip() for case in cases if case.failed]
    return Curve(info.url, parameter, default_ef(info), points, failures)


def mark_front(points: Sequence[Point]) -> list[Point]:
    """Return the points with `on_front` set."""
    places = [(point.recall, -point.search_ms.median) for point in points]

    def is_beaten(place: tuple[float, float]) -> bool:
        return any(other != place and other[0] >= place[0] and other[1] >= place[1] for other in places)

    return [replace(point, on_front=not is_beaten(place)) for point, place in zip(points, places, strict=True)]


def choose_classes(workload: Workload, field: str) -> dict[str, Workload]:
    """Return the workload with a filter for the class nearest to each of `SHARES`, by the filter's text.

    A class has more than k points. Which points are in it is read from their payloads, not with any store's filter.
    """
    total = workload.infos[0].count
    counts = [(value, count) for value, count in workload.stores[0].facet(field) if count > workload.k]
    if not counts:
        return {}
    chosen = [min(counts, key=lambda pair: abs(pair[1] / total - share))[0] for share in SHARES]
    payloads = {entry.id: entry.payload for entry in entries(workload.stores[0])}
    ids = list(workload.truth.position)
    classes = {}
    for value in dict.fromkeys(chosen):
        condition = (Match(field, (value,)),)
        rows = np.flatnonzero([matches(payloads[id_], condition) for id_ in ids])
        truth = ground_truth(ids, workload.truth.vectors, workload.truth.queries, workload.k, rows)
        classes[f"{field}={value}"] = replace(workload, truth=truth, filter=condition)
    return classes
