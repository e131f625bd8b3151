"""Processes that are started to be measured: what they print or return, how long they take, and their memory."""

import json
import math
import os
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from subprocess import PIPE, TimeoutExpired
from typing import Any, TypeVar

import psutil

from cbir.errors import CbirError
from cbir.text import one_line

T = TypeVar("T")

SAMPLE_SECONDS = 0.5
_BUSY = ("user", "nice", "system", "irq", "softirq", "steal")


@dataclass(frozen=True)
class MeasuredProcess:
    """What a process and all that it started printed and used.

    `printed` is the JSON object on its last line. `peak_megabytes` is the most memory of its processes together, shared
    memory counted once; None if it ended too soon. `others` is the share of the processors that others used meanwhile.
    `core_seconds` is processor time, without the last moments of each process.
    """

    printed: dict[str, Any]
    seconds: float
    core_seconds: float
    peak_megabytes: float | None
    others: float


def run_process(
    name: str, command: Sequence[str], environment: dict[str, str] | None = None, limit: float = math.inf
) -> MeasuredProcess:
    """Run a command that prints JSON, and measure it.

    `CbirError` has the last line of its standard error, or says that it took more than `limit` seconds.
    """
    meter, start = OthersMeter(), time.perf_counter()
    process = psutil.Popen(
        command, stdout=PIPE, stderr=PIPE, text=True, errors="replace", env=os.environ | (environment or {}),
        process_group=0,
    )  # fmt: skip
    used: dict[int, float] = {}  # seconds by process: a parent does not wait for each of its children
    peak, outputs = 0.0, None
    try:
        while outputs is None:
            now = process_tree(process)
            used |= {pid: seconds for pid, (seconds, _) in now.items()}
            peak = max(peak, sum(megabytes for _, megabytes in now.values()))
            if time.perf_counter() - start > limit:
                raise CbirError(f"{name} took more than {limit / 60:,.3g} minutes")
            with suppress(TimeoutExpired):
                outputs = process.communicate(timeout=SAMPLE_SECONDS)
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.communicate()
        raise
    seconds, others = time.perf_counter() - start, meter.share(sum(used.values()))
    lines, errors = ([line for line in text.splitlines() if line.strip()] for text in outputs)
    if process.returncode:
        raise CbirError(f"{name} failed: {errors[-1] if errors else f'exit code {process.returncode}'}")
    try:
        printed = json.loads(lines[-1])
    except (IndexError, ValueError) as error:
        raise CbirError(f"{name} printed no JSON: {one_line(error)}") from None
    return MeasuredProcess(printed, seconds, sum(used.values()), peak or None, others)


def apart(call: Callable[..., T], *arguments: Any) -> T:
    """Return what `call` returns in a new process; `CbirError` if that dies."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        try:
            return pool.submit(call, *arguments).result()
        except BrokenProcessPool:
            raise CbirError("A measured process died. Memory or disk may have run out.") from None


class OthersMeter:
    """How much other processes use the processors, from the moment the meter is made."""

    def __init__(self) -> None:
        self._busy, self._own, self._start = _busy_seconds(), _own_seconds(), time.perf_counter()

    def share(self, own: float = 0.0) -> float:
        """Return the share of the processors that others used; `own` are seconds that may not be accounted for yet."""
        own, seconds = max(own, _own_seconds() - self._own), time.perf_counter() - self._start
        return max(0.0, _busy_seconds() - self._busy - own) / (seconds * (os.cpu_count() or 1))


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    return sum(getattr(times, name, 0.0) for name in _BUSY)


def _own_seconds() -> float:
    return sum(os.times()[:4])


def process_tree(process: psutil.Process) -> dict[int, tuple[float, float]]:
    """Return the processor seconds, and the megabytes, of a process and of each that it started, by process id.

    Memory that several of them share is counted once.
    """
    found = {}
    with suppress(psutil.Error):
        for member in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):  # it has ended
                spent, memory = member.cpu_times(), member.memory_full_info()
                found[member.pid] = spent.user + spent.system, getattr(memory, "pss", memory.uss) / 1e6
    return found
