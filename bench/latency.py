"""How long a search takes: through the store protocol, and by the engine's bare call beside it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from cbir.stores import EmbeddedStore
from cbir.terminal import Advance

from .parity import against_oracle
from .subject import ORDINARY, Subject, ask, how
from .summary import Summary, named

NOTE = (
    "One client, one search at a time, after a warm-up; the calls take turns. The protocol checks the query and returns"
    " sorted hits with payload; Edge's raw call finds the payload too, that of FAISS returns positions alone."
)


@dataclass(frozen=True)
class Times:
    """Milliseconds of one search: the median, the quarters around it (how noisy the machine was), and the tail."""

    median: float
    p25: float
    p75: float
    p95: float


@dataclass(frozen=True)
class Latency:
    """One store's searches, one at a time from one client.

    Attributes:
        store: Its URL.
        searched: How it searched.
        ann_recall_at_k: Of the same searches; a latency means nothing without it.
        search_ms: Through the store protocol: checked query in, sorted hits with payload out.
        raw_ms: The engine's own call with the same parameters; None for a server.
        ratio: Median of the one by the median of the other.
    """

    store: str
    searched: str
    ann_recall_at_k: Summary
    search_ms: Times
    raw_ms: Times | None
    ratio: float | None


def measure(subject: Subject, advance: Advance) -> list[Latency]:
    """Time every query on every store, after an untimed pass that yields the recall and warms up.

    All calls take turns query by query, and every second query in the opposite order, so that whatever else the
    machine does, and what one call leaves in the processor's caches for the next, falls on all alike.
    """
    answers = [ask(subject, store, ORDINARY, advance) for store in subject.stores]
    queries = named(subject.queries, {id_: key for one in answers for id_, key in one.keys.items()})
    search_ms: list[list[float]] = [[] for _ in subject.stores]
    raw_ms: list[list[float]] = [[] for _ in subject.stores]
    for number, vector in enumerate(subject.vectors):
        calls: list[tuple[list[float], Callable[[], object]]] = []
        for store, search, raw in zip(subject.stores, search_ms, raw_ms, strict=True):
            calls.append((search, partial(store.search, vector[None], subject.k)))
            if isinstance(store, EmbeddedStore):
                calls.append((raw, store.index.raw(vector, subject.k)))
        for spent, call in calls if number % 2 else reversed(calls):
            start = time.perf_counter()
            call()
            spent.append((time.perf_counter() - start) * 1000)
        advance(1)
    found = []
    for at, info in enumerate(subject.infos):
        through, bare = times(search_ms[at]), times(raw_ms[at]) if raw_ms[at] else None
        found.append(
            Latency(
                store=info.url,
                searched=how(info, ORDINARY),
                ann_recall_at_k=against_oracle(subject, at, ORDINARY, answers[at], queries).ann_recall_at_k,
                search_ms=through,
                raw_ms=bare,
                ratio=through.median / bare.median if bare else None,
            )
        )
    return found


def times(milliseconds: Sequence[float]) -> Times:
    """Return the summary of single measurements."""
    p25, median, p75, p95 = np.percentile(milliseconds, [25, 50, 75, 95]).tolist()
    return Times(median, p25, p75, p95)
