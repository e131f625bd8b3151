"""How long a search takes: alone and among others, with a filter and without, and by the engine's bare call."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from cbir.filters.conditions import Match, Value, matches
from cbir.progress import Advance
from cbir.records import Vector
from cbir.search.query import entries
from cbir.stores.base import SearchParams

from ..core.ground_truth import ground_truth
from ..core.metrics import Query, Summary, summarise
from ..core.stores import bare_search
from ..core.timing import Times, timed, times
from ..core.workload import ORDINARY, Workload, recalls_of, search_all, search_method

SHARES = (0.02, 0.40)
"""Of the points: a class among so few that a graph hardly finds it, and one that is nearly half of everything."""


@dataclass(frozen=True)
class Class:
    """Points that have one value in a payload field, and the workload whose exact answers are among them alone."""

    field: str
    value: Value
    points: int
    share: float
    workload: Workload


@dataclass(frozen=True)
class Load:
    """Client threads that each have one search after the other; searches a second are the median of the rounds."""

    threads: int
    searches_per_second: float
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
class Latency:
    """One store's searches.

    Attributes:
        ann_recall_at_k: Of the same searches; a latency means nothing without it.
        loads: Searches through the store protocol, by the number of client threads.
        search_ms: The same through one client, in turns with what follows.
        raw_ms: The engine's own call with the same parameters; None for a server.
        ratio: Median of the one by the median of the other.
    """

    store: str
    searched: str
    ann_recall_at_k: Summary
    loads: list[Load]
    search_ms: Times
    raw_ms: Times | None
    ratio: float | None
    filtered: list[Filtered]


@dataclass
class Case:
    """The store number `at` at one width of search, what is asked of it, and what its rounds have brought."""

    workload: Workload
    classes: Sequence[Class]
    threads: Sequence[int]
    at: int
    effort: int | None = None
    recalls: list[Summary] = field(default_factory=list)
    singles: list[list[list[float]]] = field(default_factory=list)
    loads: list[list[tuple[list[float], float]]] = field(default_factory=list)
    failed: str = ""

    def measure_recall(self, advance: Advance) -> None:
        """Search untimed, for the recall of each class, too; it warms up."""
        workloads = [self.workload, *(one.workload for one in self.classes)]
        self.recalls = [self._recall(one, advance) for one in workloads]

    def take(self, rng: np.random.Generator, advance: Advance) -> None:
        """Time all queries once."""
        singles = self._in_turns(rng, advance)
        self.loads.append([self._at_once(count, advance) for count in self.threads])
        self.singles.append(singles)

    def merged(self) -> tuple[Times, Times | None, float | None, list[Filtered]]:
        """Return the times of all rounds: of a search and of the bare call, their ratio, and those within classes."""
        search, *others = [times([one for part in parts for one in part]) for parts in zip(*self.singles, strict=True)]
        raw = others[len(self.classes)] if len(others) > len(self.classes) else None
        filtered = [
            Filtered(one.field, one.value, one.points, one.share, recall, spent, spent.median / search.median)
            for one, recall, spent in zip(self.classes, self.recalls[1:], others, strict=False)
        ]
        return search, raw, search.median / raw.median if raw else None, filtered

    def closed_loops(self) -> list[tuple[int, list[float], Times]]:
        """Return by number of threads the searches a second of each round, and the times of a single search."""
        return [
            (count, [rate for _, rate in parts], times([one for spent, _ in parts for one in spent]))
            for count, parts in zip(self.threads, zip(*self.loads, strict=True), strict=True)
        ]

    def _recall(self, workload: Workload, advance: Advance) -> Summary:
        answers = search_all(workload, workload.stores[self.at], ORDINARY, advance, self.effort)
        queries = [Query(id_, answers.keys.get(id_)) for id_ in workload.queries]
        return summarise(recalls_of(workload, answers.rankings), queries)

    def _search(self, vector: Vector) -> Callable[..., object]:
        params = SearchParams(self.effort)
        return partial(self.workload.stores[self.at].search, vector[None], self.workload.k, params=params)

    def _in_turns(self, rng: np.random.Generator, advance: Advance) -> list[list[float]]:
        """Return milliseconds of every query: unfiltered, within each class and, if embedded, by the bare call.

        A query's calls come in an order drawn anew, since one leaves in the processor's caches what the next one needs.
        """
        spent: list[list[float]] = []
        for vector in self.workload.vectors:
            search = self._search(vector)
            calls = [search, *(partial(search, filter=one.workload.filter) for one in self.classes)]
            if bare := bare_search(self.workload.stores[self.at], vector, self.workload.k, self.effort):
                calls.append(bare)
            spent = spent or [[] for _ in calls]
            for at in rng.permutation(len(calls)).tolist():
                spent[at].append(timed(calls[at]))
            advance(1)
        return spent

    def _at_once(self, threads: int, advance: Advance) -> tuple[list[float], float]:
        """Return the milliseconds of each search of so many clients that share the queries, and searches a second."""

        def client(at: int) -> list[float]:
            return [timed(self._search(vector)) for vector in self.workload.vectors[at::threads]]

        with ThreadPoolExecutor(threads) as pool:
            start = time.perf_counter()
            spent = list(pool.map(client, range(threads)))
            seconds = time.perf_counter() - start
        advance(len(self.workload.queries))
        return [one for part in spent for one in part], len(self.workload.queries) / seconds


def measure(
    workload: Workload, classes: Sequence[Class], threads: Sequence[int], rounds: int, advance: Advance
) -> list[Latency]:
    """Time every query on every store, after an untimed pass that yields the recall and warms up.

    The stores take turns of all queries in each round, and every second round in the opposite order, so that
    whatever else the machine does falls on all alike.
    """
    cases = [Case(workload, classes, threads, at) for at in range(len(workload.stores))]
    for case in cases:
        case.measure_recall(advance)
    rng = np.random.default_rng(workload.seed)
    for number in range(rounds):
        for case in cases if number % 2 == 0 else reversed(cases):
            case.take(rng, advance)
    return [_latency(case) for case in cases]


def _latency(case: Case) -> Latency:
    info = case.workload.infos[case.at]
    search, raw, ratio, filtered = case.merged()
    loads = [Load(count, float(np.median(rates)), spent) for count, rates, spent in case.closed_loops()]
    return Latency(info.url, search_method(info, ORDINARY), case.recalls[0], loads, search, raw, ratio, filtered)


def choose_classes(workload: Workload, field: str) -> list[Class]:
    """Return the class nearest to each of `SHARES`; none where no value of the field has more than k points.

    Which points are in a class is seen from their payloads, and not asked of any store's filter.
    """
    total = workload.infos[0].count
    counts = [(value, count) for value, count in workload.stores[0].facet(field) if count > workload.k]
    if not counts:
        return []
    chosen = [min(counts, key=lambda one: abs(one[1] / total - share))[0] for share in SHARES]
    payloads = {one.id: one.payload for one in entries(workload.stores[0])}
    found = []
    for value in dict.fromkeys(chosen):
        where = (Match(field, (value,)),)
        ids = list(workload.truth.position)
        rows = np.flatnonzero([matches(payloads[one], where) for one in ids])
        truth = ground_truth(ids, workload.truth.vectors, workload.truth.queries, workload.k, rows)
        found.append(Class(field, value, len(rows), len(rows) / total, replace(workload, truth=truth, filter=where)))
    return found
