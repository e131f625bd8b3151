"""What users wait for at a given rate of searches, which begin when they are due and not when the last one has ended.

In a closed loop each client waits for its answer before it searches again. While a store stalls nobody searches, and
the stall counts once: coordinated omission (Gil Tene, "How NOT to Measure Latency", 2015). Here the arrivals are a
Poisson process that is drawn beforehand, and a response is timed from the moment it was due.
"""

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from cbir.errors import CbirError
from cbir.progress import Advance
from cbir.stores.base import Store

from ..core.timing import Times, times
from ..core.workload import Workload
from .measure import Curve

SHARES = (0.25, 0.5, 0.75, 0.9, 1.1)  # of the best closed loop; the last one is more than the store can do


@dataclass(frozen=True)
class Rate:
    """One rate of arrivals at one store.

    Attributes:
        share: Of the store's searches a second in its best closed loop.
        answered_per_second: Until the last search was answered.
        response_ms: From the moment a search was due to its answer: what a user waits for.
        service_ms: From the moment it began: what a closed loop would have shown.
        late_ms: How long after it was due the last search began. It grows if the store cannot keep up.
    """

    share: float
    due_per_second: float
    threads: int
    answered_per_second: float
    response_ms: Times
    service_ms: Times
    late_ms: float


@dataclass(frozen=True)
class OpenLoop:
    """One store at every rate; `failures` says why one could not be measured."""

    store: str
    rates: list[Rate]
    failures: list[str]


def measure(workload: Workload, index: int, curve: Curve, threads: int, seconds: float, advance: Advance) -> OpenLoop:
    """Search the store number `index` at `SHARES` of its best closed loop, each for some seconds."""
    point = curve.default_point
    best = max((load.searches_per_second.median for load in point.loads), default=0) if point else 0
    found = OpenLoop(curve.store, [], [])
    for share in SHARES if best else ():
        due = arrivals(share * best, seconds, workload.seed)
        try:
            began, ended = run(workload.stores[index], workload, due, threads)
        except CbirError as error:
            found.failures.append(f"{share:.0%} of its best: {error}")
        else:
            found.rates.append(
                Rate(
                    share=share,
                    due_per_second=len(due) / seconds,
                    threads=threads,
                    answered_per_second=len(due) / float(ended.max()),
                    response_ms=times(((ended - due) * 1000).tolist()),
                    service_ms=times(((ended - began) * 1000).tolist()),
                    late_ms=max(0.0, float(began[-1] - due[-1]) * 1000),
                )
            )
        advance(1)
    return found


def arrivals(rate: float, seconds: float, seed: int) -> np.ndarray:
    """Return the moments (n,) in seconds at which a Poisson process of `rate` a second is due; at least one."""
    rng = np.random.default_rng(seed)
    due = np.cumsum(rng.exponential(1 / rate, max(1, round(rate * seconds))))
    return due * (seconds / float(due[-1]))  # exactly the requested rate


def run(store: Store, workload: Workload, due: np.ndarray, threads: int) -> tuple[np.ndarray, np.ndarray]:
    """Search at the moments `due` in some threads; return when each search began and ended, in seconds.

    Each thread takes the next arrival, waits until it is due and searches. If all are busy, it begins late.
    """
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
            store.search(workload.vectors[number % len(workload.vectors)][None], workload.k)
            ended[number] = time.perf_counter() - start

    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(client) for _ in range(threads)]:
            future.result()
    return began, ended
