"""A measured child process: what it printed, how long it took, what memory it had, and who else used the processors."""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cbir.errors import CbirError
from cbir.terminal import one_line

_LOOK_SECONDS = 0.5
_BUSY = (0, 1, 2, 5, 6, 7)
"""The columns of /proc/stat in which a processor works: user, nice, system, irq, softirq and, for others, steal."""


@dataclass(frozen=True)
class Child:
    """What a child process was, with all that it started. The last two are None where there is no /proc.

    Attributes:
        printed: The JSON object on the last line of its standard output.
        seconds: From its start to its end.
        peak_megabytes: Most memory of its processes together, what they share counted once; looked at twice a second.
        others: Share of the machine's processors that other processes used meanwhile.
    """

    printed: dict[str, Any]
    seconds: float
    peak_megabytes: float | None
    others: float | None


def run_child(name: str, command: Sequence[str], environment: dict[str, str] | None = None) -> Child:
    """Run a command that prints JSON, and return what came of it.

    Raises:
        CbirError: It failed; the last line of its standard error says why.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        before, own, start = busy_seconds(), own_seconds(), time.perf_counter()
        child = subprocess.Popen(
            command, stdout=out, stderr=err, env={**os.environ, **(environment or {})}, process_group=0
        )
        used: dict[int, float] = {}  # seconds by process, since not each is waited for by the one that started it
        peak = 0.0
        try:
            while child.poll() is None:
                now = _group(child.pid)
                used |= {process: seconds for process, (seconds, _) in now.items()}
                peak = max(peak, sum(megabytes for _, megabytes in now.values()))
                with suppress(subprocess.TimeoutExpired):
                    child.wait(_LOOK_SECONDS)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)
            child.wait()
            raise
        seconds = time.perf_counter() - start
        after, own = busy_seconds(), own_seconds() - own
        lines, complaints = (_lines(file) for file in (out, err))
    if child.returncode:
        raise CbirError(f"{name} failed: {complaints[-1] if complaints else f'exit code {child.returncode}'}")
    try:
        printed = json.loads(lines[-1])
    except (IndexError, ValueError) as error:
        raise CbirError(f"{name} printed no JSON: {one_line(error)}") from None
    others = None
    if before is not None and after is not None:
        rest = after - before - max(own, sum(used.values()))
        others = max(0.0, rest) / (seconds * (os.cpu_count() or 1))
    return Child(printed, seconds, peak or None, others)


def _lines(file: Any) -> list[str]:
    file.seek(0)
    return [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]


def busy_seconds() -> float | None:
    """Return how long all processors of the machine have been busy, of which only Linux keeps an account."""
    try:
        counted = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return None
    return sum(int(counted[at]) for at in _BUSY) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """Return the processor time of this process and of all that were waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _group(group: int) -> dict[int, tuple[float, float]]:
    """Return the processor seconds and megabytes of each process of a process group; nothing without /proc."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(stat[2]) == group:
                memory = (folder / "smaps_rollup").read_text()
                kilobytes = int(memory.partition("\nPss:")[2].split(maxsplit=1)[0]) if memory else 0
                ticks = int(stat[11]) + int(stat[12])
                found[int(folder.name)] = (ticks / os.sysconf("SC_CLK_TCK"), kilobytes / 1000)
    return found
