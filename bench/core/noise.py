"""How noisy the machine was while something was measured."""

import os
import time
from dataclasses import dataclass

import numpy as np

from ..ingest.measure import Spread, spread
from .measured_process import busy_seconds, own_seconds

_SIZE = 192
_RUNS = 40


@dataclass(frozen=True)
class Noise:
    """What a reader needs to know before believing a difference.

    Attributes:
        kernel_ms: A matrix product that is always the same, its median in each round: a machine that is left alone
            takes the same time for it, and a difference smaller than this spread is none.
        others: Share of the machine's processors that other processes used meanwhile; None where there is no /proc.
    """

    kernel_ms: Spread
    others: float | None


class NoiseMeter:
    """Watches the machine from the moment it is made."""

    def __init__(self) -> None:
        self._matrix = np.random.default_rng(0).standard_normal((_SIZE, _SIZE)).astype(np.float32)
        self._busy, self._own, self._start = busy_seconds(), own_seconds(), time.perf_counter()
        self._kernel = [self._time()]

    def look(self) -> None:
        """Time the kernel, between two rounds."""
        self._kernel.append(self._time())

    def noise(self) -> Noise:
        """Return what was seen so far."""
        busy, seconds = busy_seconds(), time.perf_counter() - self._start
        others = None
        if busy is not None and self._busy is not None:
            rest = busy - self._busy - (own_seconds() - self._own)
            others = max(0.0, rest) / (seconds * (os.cpu_count() or 1))
        return Noise(spread(self._kernel), others)

    def _time(self) -> float:
        spent = []
        for _ in range(_RUNS):
            start = time.perf_counter()
            self._matrix @ self._matrix
            spent.append((time.perf_counter() - start) * 1000)
        return float(np.median(spent))
