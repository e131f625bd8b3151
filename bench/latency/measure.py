"""How long a search takes: alone and among others, with a filter and without, and by the engine's bare call."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from cbir.filters.conditions import Value
from cbir.records import Vector
from cbir.stores.base import EmbeddedStore, Store
from cbir.terminal import Advance

from ..accuracy.classes import Class
from ..core.workload import ORDINARY, Subject, ask, how
from ..parity.measure import against_oracle
from ..report.summary import Summary, named

P999_NEEDS = 1000


@dataclass(frozen=True)
class Times:
    """Milliseconds of one search: the median, the quarters around it (how noisy the machine was), and the tail.

    `p999` is None where fewer than `P999_NEEDS` searches were timed: it would be the slowest one alone.
    """

    median: float
    p25: float
    p75: float
    p95: float
    p99: float
    p999: float | None
    samples: int


@dataclass(frozen=True)
class Load:
    """Client threads that each have one search after the other.

    Attributes:
        threads: How many.
        searches_per_second: Of all of them together, the median of the rounds.
        search_ms: Of a single search.
    """

    threads: int
    searches_per_second: float
    search_ms: Times


@dataclass(frozen=True)
class Filtered:
    """Searches within a class.

    Attributes:
        field: The payload field of the filter.
        value: What it must be.
        points: How many points have it.
        share: Of all points.
        ann_recall_at_k: Against the exact answer among these points.
        search_ms: Of a single search.
        ratio: Its median by that of the unfiltered search.
    """

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
        store: Its URL.
        searched: How it searched.
        ann_recall_at_k: Of the same searches; a latency means nothing without it.
        loads: Searches through the store protocol, by the number of client threads.
        search_ms: The same through one client, in turns with what follows.
        raw_ms: The engine's own call with the same parameters; None for a server.
        ratio: Median of the one by the median of the other.
        filtered: Searches within classes.
    """

    store: str
    searched: str
    ann_recall_at_k: Summary
    loads: list[Load]
    search_ms: Times
    raw_ms: Times | None
    ratio: float | None
    filtered: list[Filtered]


def measure(
    subject: Subject, classes: Sequence[Class], threads: Sequence[int], rounds: int, advance: Advance
) -> list[Latency]:
    """Time every query on every store, after an untimed pass that yields the recall and warms up.

    The stores take turns of all queries in each round, and every second round in the opposite order, so that
    whatever else the machine does falls on all alike.
    """
    numbers = range(len(subject.stores))
    recalls = [recalls_of([subject, *(one.subject for one in classes)], at, advance) for at in numbers]
    singles: list[list[list[list[float]]]] = [[] for _ in numbers]
    loads: list[list[list[tuple[list[float], float]]]] = [[] for _ in numbers]
    rng = np.random.default_rng(subject.seed)
    for number in range(rounds):
        for at in numbers if number % 2 == 0 else reversed(numbers):
            store = subject.stores[at]
            singles[at].append(in_turns(store, subject, classes, rng, advance))
            loads[at].append([at_once(store, subject, count, advance) for count in threads])
    return [
        _summed(subject, classes, threads, at, recalls[at], singles[at], loads[at]) for at in range(len(subject.stores))
    ]


def times(milliseconds: Sequence[float]) -> Times:
    """Return the summary of single measurements."""
    p25, median, p75, p95, p99, p999 = np.percentile(milliseconds, [25, 50, 75, 95, 99, 99.9]).tolist()
    enough = len(milliseconds) >= P999_NEEDS
    return Times(median, p25, p75, p95, p99, p999 if enough else None, len(milliseconds))


def timed(call: Callable[[], object]) -> float:
    """Return the milliseconds of a call."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000


def recalls_of(subjects: Sequence[Subject], at: int, advance: Advance, effort: int | None = None) -> list[Summary]:
    """Return the recall of the store number `at` for the queries of each subject; warms the store up."""
    found = []
    for subject in subjects:
        answers = ask(subject, subject.stores[at], ORDINARY, advance, effort)
        queries = named(subject.queries, answers.keys)
        found.append(against_oracle(subject, at, ORDINARY, answers, queries).ann_recall_at_k)
    return found


def in_turns(
    store: Store,
    subject: Subject,
    classes: Sequence[Class],
    rng: np.random.Generator,
    advance: Advance,
    effort: int | None = None,
) -> list[list[float]]:
    """Return milliseconds of every query: unfiltered, within each class and, in an embedded store, by the bare call.

    A query's calls come in an order drawn anew, since one leaves in the processor's caches what the next one needs.
    """
    spent: list[list[float]] = [[] for _ in range(1 + len(classes) + isinstance(store, EmbeddedStore))]
    for vector in subject.vectors:
        search = partial(store.search, vector[None], subject.k, effort=effort)
        calls: list[Callable[[], object]] = [search, *(partial(search, where=one.subject.where) for one in classes)]
        if isinstance(store, EmbeddedStore):
            calls.append(store.index.raw(vector, subject.k, effort))
        for at in rng.permutation(len(calls)).tolist():
            spent[at].append(timed(calls[at]))
        advance(1)
    return spent


def at_once(
    store: Store, subject: Subject, threads: int, advance: Advance, effort: int | None = None
) -> tuple[list[float], float]:
    """Return the milliseconds of each search of so many clients that share the queries, and searches a second."""

    def client(vectors: Vector) -> list[float]:
        return [timed(partial(store.search, vector[None], subject.k, effort=effort)) for vector in vectors]

    with ThreadPoolExecutor(threads) as pool:
        start = time.perf_counter()
        spent = list(pool.map(client, [subject.vectors[at::threads] for at in range(threads)]))
        seconds = time.perf_counter() - start
    advance(len(subject.queries))
    return [one for part in spent for one in part], len(subject.queries) / seconds


def _summed(
    subject: Subject,
    classes: Sequence[Class],
    threads: Sequence[int],
    at: int,
    recalls: Sequence[Summary],
    singles: Sequence[list[list[float]]],
    loads: Sequence[list[tuple[list[float], float]]],
) -> Latency:
    """Return one store's figures from those of its rounds."""
    merged = [times([one for part in parts for one in part]) for parts in zip(*singles, strict=True)]
    search, within, raw = merged[0], merged[1 : 1 + len(classes)], merged[1 + len(classes) :]
    info = subject.infos[at]
    return Latency(
        store=info.url,
        searched=how(info, ORDINARY),
        ann_recall_at_k=recalls[0],
        loads=[
            Load(
                count,
                float(np.median([rate for _, rate in parts])),
                times([one for spent, _ in parts for one in spent]),
            )
            for count, parts in zip(threads, zip(*loads, strict=True), strict=True)
        ],
        search_ms=search,
        raw_ms=raw[0] if raw else None,
        ratio=search.median / raw[0].median if raw else None,
        filtered=[
            Filtered(one.field, one.value, one.points, one.share, recall, spent, spent.median / search.median)
            for one, recall, spent in zip(classes, recalls[1:], within, strict=True)
        ],
    )
