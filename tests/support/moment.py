"""The moment at which a process gets a signal, counted in work done: it comes on a fast and on a loaded machine."""

import os
import random
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Moment:
    """When a signal comes.

    Attributes:
        phase: A phase of `tests.support.killed_ingest`.
        count: Images, or calls, of the phase: the signal comes in the call with which so many are reached.
        lines: Lines of Python that this call may still run; it gets the signal when it ends, at the latest.
        signal: The number of the signal.
    """

    phase: str
    count: int
    lines: int = 0
    signal: int = signal.SIGKILL


def random_lines(rng: random.Random) -> int:
    """Return how many lines to let pass, 0 to 2047: some few, some many, since calls are short and long."""
    return int(2 ** rng.uniform(0, 11)) - 1


def interrupted(call: Callable[[], T], lines: int, process: int, number: int = signal.SIGKILL) -> T:
    """Return what `call` returns; `process` gets a signal after so many of its lines, or else when it ends."""
    left = lines

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        if event == "line":
            left -= 1
            if left < 0:
                sys.settrace(None)
                os.kill(process, number)
        return trace if left >= 0 else None

    sys.settrace(trace)
    try:
        return call()
    finally:
        sys.settrace(None)
        if left >= 0:
            os.kill(process, number)
