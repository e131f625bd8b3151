"""The point at which a process gets a signal, counted in work done, so that it is the same on every machine."""

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
class SignalPoint:
    """The point at which a signal is sent.

    Attributes:
        phase: A phase of `tests.support.killed_ingest`.
        count: The signal is sent in the call in which the phase reaches this number of images, or of calls.
        lines: The number of lines of Python that this call still runs; the signal is sent at its end at the latest.
        signal: The number of the signal.
    """

    phase: str
    count: int
    lines: int = 0
    signal: int = signal.SIGKILL


def random_lines(rng: random.Random) -> int:
    """Return a random number of lines, 0 to 2047; small ones are more frequent, since many calls are short."""
    return int(2 ** rng.uniform(0, 11)) - 1


def interrupted(call: Callable[[], T], lines: int, process: int, number: int = signal.SIGKILL) -> T:
    """Return the result of `call`; send a signal to `process` after some of its lines, or at its end."""
    return stopped(call, lines, lambda frame, ran: os.kill(process, number))


def stopped(
    call: Callable[[], T],
    lines: int,
    stop: Callable[[FrameType | None, int], object],
    within: str | tuple[str, ...] = "",
) -> T:
    """Return the result of `call`; call `stop` after some of its lines in the files `within`, or at its end.

    `stop` gets the frame, None at the end, and the number of lines that were run.
    """
    left = lines

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.startswith(within):
            return None
        if event == "line":
            left -= 1
            if left < 0:
                sys.settrace(None)
                stop(frame, lines)
        return trace if left >= 0 else None

    sys.settrace(trace)
    try:
        return call()
    finally:
        sys.settrace(None)
        if left >= 0:
            stop(None, lines - left)
