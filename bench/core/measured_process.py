"""Processes that are started to be measured: what they print or return, how long they take, and their memory."""

import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import psutil

from cbir.errors import CbirError
from cbir.text import one_line

T = TypeVar("T")

_LOOK_SECONDS = 0.5
_BUSY = ("user", "nice", "system", "irq", "softirq", "steal")


@dataclass(frozen=True)
class Child:
    """What a child process was, with all that it started.

    Attributes:
        printed: The JSON object on the last line of its standard output.
        seconds: From its start to its end.
        peak_megabytes: Most memory of its processes together, what they share counted once; looked at twice a second,
            None where it ended before the first look.
        others: Share of the machine's processors that other processes used meanwhile.
    """

    printed: dict[str, Any]
    seconds: float
    peak_megabytes: float | None
    others: float


def run_child(name: str, command: Sequence[str], environment: dict[str, str] | None = None) -> Child:
    """Run a command that prints JSON, and return what came of it.

    Raises:
        CbirError: It failed; the last line of its standard error says why.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        meter, start = OthersMeter(), time.perf_counter()
        environment = {**os.environ, **(environment or {})}
        child = psutil.Popen(command, stdout=out, stderr=err, env=environment, process_group=0)
        used: dict[int, float] = {}  # seconds by process, since not each is waited for by the one that started it
        peak = 0.0
        try:
            while child.poll() is None:
                now = _usage(child)
                used |= {process: seconds for process, (seconds, _) in now.items()}
                peak = max(peak, sum(megabytes for _, megabytes in now.values()))
                with suppress(psutil.TimeoutExpired):
                    child.wait(_LOOK_SECONDS)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)
            child.wait()
            raise
        seconds, others = time.perf_counter() - start, meter.share(sum(used.values()))
        lines, complaints = (_lines(file) for file in (out, err))
    if child.returncode:
        raise CbirError(f"{name} failed: {complaints[-1] if complaints else f'exit code {child.returncode}'}")
    try:
        printed = json.loads(lines[-1])
    except (IndexError, ValueError) as error:
        raise CbirError(f"{name} printed no JSON: {one_line(error)}") from None
    return Child(printed, seconds, peak or None, others)


def apart(call: Callable[..., T], *arguments: Any) -> T:
    """Return what `call` returns in a new process."""
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(sender, call, arguments), daemon=True)
    child.start()
    sender.close()
    try:
        answer = receiver.recv()
    except EOFError:
        child.join()
        raise CbirError(
            f"a measured process ended with code {child.exitcode}; memory or disk may have run out"
        ) from None
    finally:
        child.kill()
        child.join()
    if isinstance(answer, CbirError):
        raise answer
    return answer  # type: ignore[no-any-return]


def _child(sender: Connection, call: Callable[..., object], arguments: Sequence[Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it and ends this process
    try:
        sender.send(call(*arguments))
    except CbirError as error:
        sender.send(error)


def _lines(file: Any) -> list[str]:
    file.seek(0)
    return [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]


class OthersMeter:
    """How much other processes use the machine's processors, from the moment it is made."""

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


def _usage(child: psutil.Process) -> dict[int, tuple[float, float]]:
    found = {}
    with suppress(psutil.Error):
        for one in (child, *child.children(recursive=True)):
            with suppress(psutil.Error):  # it has ended
                spent, memory = one.cpu_times(), one.memory_full_info()
                found[one.pid] = spent.user + spent.system, getattr(memory, "pss", memory.uss) / 1e6
    return found
