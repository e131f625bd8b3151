"""Times with their spread, and how noisy the machine was meanwhile."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cbir.models.runtime import int8_overflows
from cbir.tables import Range

from .measured_process import OthersMeter

P999_NEEDS = 1000
BUSY = 0.1  # share of the processors above which the work of other processes is worth a warning
_SIZE = 192
_RUNS = 40


@dataclass(frozen=True)
class Spread:
    """The median of the rounds, the lowest and the highest."""

    median: float
    lowest: float
    highest: float

    def as_range(self) -> Range:
        """Return it as a cell of a table."""
        return Range(self.median, self.lowest, self.highest)


@dataclass(frozen=True)
class Times:
    """Milliseconds of a search: the median, the quartiles and the tail.

    `p999` is None if fewer than `P999_NEEDS` searches were timed: it would be the slowest search alone.
    """

    median: float
    p25: float
    p75: float
    p95: float
    p99: float
    p999: float | None
    samples: int


@dataclass(frozen=True)
class Noise:
    """How noisy the machine was: the time of a matrix product that is the same in each round, and others' work.

    A difference smaller than the spread of `kernel_ms` is noise. `others` is the share of the processors that other
    processes used.
    """

    kernel_ms: Spread
    others: float

    def notes(self) -> list[str]:
        """Return the noise in words, with a warning if other processes were busy."""
        kernel = self.kernel_ms
        return [
            f"Noise of the machine: the same matrix product took {kernel.lowest:.3f} to {kernel.highest:.3f} ms"
            f" ({kernel.highest / kernel.lowest - 1:.0%} apart). Smaller differences are noise.",
            *busy_notes([self.others]),
        ]


class NoiseMeter:
    """Watches the machine from the moment it is made."""

    def __init__(self) -> None:
        self._matrix = np.random.default_rng(0).standard_normal((_SIZE, _SIZE)).astype(np.float32)
        self._others = OthersMeter()
        self._kernel = [self._time()]

    def look(self) -> None:
        """Time the matrix product. Called between two rounds."""
        self._kernel.append(self._time())

    def noise(self) -> Noise:
        """Return the noise so far."""
        return Noise(spread(self._kernel), self._others.share())

    def _time(self) -> float:
        return float(np.median([timed(lambda: self._matrix @ self._matrix) for _ in range(_RUNS)]))


def timed(call: Callable[[], object]) -> float:
    """Return the milliseconds of a call."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000


def times(milliseconds: Sequence[float] | np.ndarray) -> Times:
    """Return the summary of single measurements."""
    p25, median, p75, p95, p99, p999 = np.percentile(milliseconds, [25, 50, 75, 95, 99, 99.9]).tolist()
    enough = len(milliseconds) >= P999_NEEDS
    return Times(median, p25, p75, p95, p99, p999 if enough else None, len(milliseconds))


def spread(values: Sequence[float]) -> Spread:
    """Return the median of some rounds, the lowest and the highest."""
    return Spread(statistics.median(values), min(values), max(values))


def busy_notes(shares: Sequence[float | None]) -> list[str]:
    """Return a warning if other processes used more than `BUSY` of the processors at any time."""
    most = max((share for share in shares if share is not None), default=0.0)
    if most <= BUSY:
        return []
    return [f"WARNING: other processes used up to {most:.0%} of the processors meanwhile, so these times mean little."]


def int8_notes(is_int8: bool) -> list[str]:
    """Return a note if an int8 model was measured where it is slow."""
    slow = is_int8 and int8_overflows()
    return ["This processor has no VNNI, so cbir runs int8 in an exact and slower way."] if slow else []
