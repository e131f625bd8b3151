"""Times with their spread, and how noisy the machine was meanwhile."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from cbir.models.runtime import int8_overflows
from cbir.tables import Range

from .measured_process import OthersMeter

T = TypeVar("T")

P999_NEEDS = 1000
BUSY = 0.1  # share of the processors above which the work of other processes is worth a warning
_SIZE = 192
_RUNS = 40


@dataclass(frozen=True)
class Times:
    """Milliseconds of some searches; `p999` is None for fewer than `P999_NEEDS`, as it would be the slowest alone."""

    median: float
    p95: float
    p99: float
    p999: float | None
    samples: int


@dataclass(frozen=True)
class Noise:
    """How noisy the machine was: the times of one matrix product, and the share of others in the processors' time."""

    kernel_ms: Range
    others: float

    def notes(self) -> list[str]:
        """Return the noise in words, with a warning if other processes were busy."""
        kernel = self.kernel_ms
        return [
            f"Noise of the machine: the same matrix product took {kernel.low:.3f} to {kernel.high:.3f} ms"
            f" ({kernel.high / kernel.low - 1:.0%} apart). Smaller differences are noise.",
            *busy_notes([self.others]),
        ]


class NoiseMeter:
    """Watches the machine from the moment it is made."""

    def __init__(self) -> None:
        self._others, self._kernel = OthersMeter(), list[float]()
        self.look()

    def look(self) -> None:
        """Time the matrix product. Called between two rounds."""
        matrix = np.ones((_SIZE, _SIZE), np.float32)
        self._kernel.append(float(np.median([timed(lambda: matrix @ matrix) for _ in range(_RUNS)])))

    def noise(self) -> Noise:
        """Return the noise so far."""
        return Noise(spread(self._kernel), self._others.share())


def timed(call: Callable[[], object]) -> float:
    """Return the milliseconds of a call."""
    return timed_answer(call)[0]


def timed_answer(call: Callable[[], T]) -> tuple[float, T]:
    """Return the milliseconds of a call, and what it returned."""
    start = time.perf_counter()
    answer = call()
    return (time.perf_counter() - start) * 1000, answer


def times(milliseconds: Sequence[float] | np.ndarray) -> Times:
    """Return the summary of single measurements."""
    median, p95, p99, p999 = np.percentile(milliseconds, [50, 95, 99, 99.9]).tolist()
    return Times(median, p95, p99, p999 if len(milliseconds) >= P999_NEEDS else None, len(milliseconds))


def spread(values: Sequence[float]) -> Range:
    """Return the median of some rounds, the lowest and the highest."""
    return Range(statistics.median(values), min(values), max(values))


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
