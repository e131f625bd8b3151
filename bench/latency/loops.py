"""Searches by several clients: in a closed loop one after the other, in an open loop when they are due.

While a store stalls nobody searches in a closed loop, and the stall counts once: coordinated omission (Gil Tene, "How
NOT to Measure Latency", 2015). The arrivals of the open loop are a Poisson process that is drawn beforehand.
"""

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from cbir.errors import CbirError
from cbir.tables import Column, Range

from ..core.rows import time_columns
from ..core.timing import Times, spread, times

SHARES = (0.25, 0.5, 0.75, 0.9, 1.1)  # of the best closed loop; the last one is more than the store can do
Search = Callable[[int], object]  # with the query of a number
Moments = tuple[np.ndarray, np.ndarray]  # when each search began and ended, in seconds


@dataclass(frozen=True)
class ClosedLoop:
    """Client threads, each with one search after the other."""

    threads: int
    searches_per_second: Annotated[Range, Column("searches/s", format=",.0f", better="higher")]
    search_ms: Annotated[Times, time_columns("median", "p95", "p99")]


@dataclass(frozen=True)
class Rate:
    """One rate of arrivals, as a share of the best closed loop.

    A response is timed from the moment a search was due, as users wait for it, a service from the moment it began.
    `late_ms` is how late the last search began: it grows if the store cannot keep up.
    """

    share: float
    due_per_second: Annotated[float, Column("due/s", format=",.0f")]
    answered_per_second: Annotated[float, Column("answered/s", format=",.0f")]
    response_ms: Annotated[Times, time_columns("median", "p95", "p99", "p999")]
    service_ms: Annotated[Times, [(Column("service p99", "ms", ".3g"), "p99")]]
    late_ms: Annotated[float, Column("late", "ms", ".3g")]


def closed_loop(threads: int, rounds: Sequence[Moments]) -> ClosedLoop:
    """Return the summary of the rounds of a closed loop."""
    rates = [len(ended) / float(ended.max()) for _, ended in rounds]
    return ClosedLoop(threads, spread(rates), times(np.concatenate([ended - began for began, ended in rounds]) * 1000))


def open_loop(search: Search, best: float, threads: int, seconds: float, seed: int) -> tuple[list[Rate], list[str]]:
    """Search at `SHARES` of the `best` closed loop, each for some seconds; return the rates, and why others failed."""
    rates: list[Rate] = []
    failures: list[str] = []
    for share in SHARES if best else ():
        due = arrivals(share * best, seconds, seed)
        try:
            began, ended = run(search, due, threads)
        except CbirError as error:
            failures.append(f"{share:.0%} of its best: {error}")
        else:
            rates.append(
                Rate(
                    share=share,
                    due_per_second=len(due) / seconds,
                    answered_per_second=len(due) / float(ended.max()),
                    response_ms=times((ended - due) * 1000),
                    service_ms=times((ended - began) * 1000),
                    late_ms=max(0.0, float(began[-1] - due[-1]) * 1000),
                )
            )
    return rates, failures


def arrivals(rate: float, seconds: float, seed: int) -> np.ndarray:
    """Return the moments (n,) in seconds at which a Poisson process of `rate` a second is due; at least one."""
    rng = np.random.default_rng(seed)
    due = np.cumsum(rng.exponential(1 / rate, max(1, round(rate * seconds))))
    return due * (seconds / float(due[-1]))  # exactly the requested rate


def run(search: Search, due: np.ndarray, threads: int) -> Moments:
    """Search at the moments `due`, all 0 in a closed loop, in some threads; if they are all busy, one begins late."""
    began, ended = np.empty(len(due)), np.empty(len(due))
    numbers, turn = itertools.count(), threading.Lock()
    start = time.perf_counter() + 0.05

    def client() -> None:
        while True:
            with turn:
                number = next(numbers)
            if number >= len(due):
                return
            wait = start + due[number] - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            began[number] = time.perf_counter() - start
            search(number)
            ended[number] = time.perf_counter() - start

    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(client) for _ in range(threads)]:
            future.result()
    return began, ended
