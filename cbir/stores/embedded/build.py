"""Builds an engine in a child process, since it blocks all threads for minutes, and a full disk can kill it."""

import ctypes
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from cbir.errors import CbirError, DamageError, DiskFullError, UsageError
from cbir.index.disk import disk_full_error, is_disk_full
from cbir.index.vector_log import VectorLog
from cbir.records import Hit, Vector, stored_hits
from cbir.stores.base import SearchParams
from cbir.stores.checks import Chosen, Row, best_hits
from cbir.stores.engines import ENGINES, rows_of
from cbir.stores.recall import SAMPLED, is_quantized, sample_recall

_PR_SET_PDEATHSIG = 1
_MAX_SCORE_ERROR = 1e-3
_LOW = 10
_CONTEXT = multiprocessing.get_context("forkserver")  # as clean as "spawn", and imports the engines only once
_CONTEXT.set_forkserver_preload([__name__, *(engine.module for engine in ENGINES.values())])

_peaks: list[int] = []
_HIDING = threading.Lock()


@dataclass(frozen=True)
class _Built:
    """A child's last message: its largest memory use in bytes, and the recall of a quantized index."""

    peak: int
    recall: float | None


def peak_memory() -> int:
    """Return the largest memory use of this process in bytes, mapped files included."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024  # `ru_maxrss` would inherit the parent's peak
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def build_peak() -> int:
    """Return the largest memory use, in bytes, of the child processes that built engines."""
    return max(_peaks, default=0)


def build_engine(
    kind: str,
    folder: Path,
    log: Path,
    dimension: int,
    options: Mapping[str, str],
    advance: Callable[[int], None],
    low_priority: bool = False,
) -> float | None:
    """Build and check one engine in a child process; `advance` is called with the number of points added.

    Return the recall of a quantized index, None for another.

    Raises:
        UsageError: It cannot be built with these options.
        DiskFullError: The disk filled; what was built so far is removed.
        CbirError: The engine failed or its process died.
    """
    child = Child(kind, folder, _build, log, dimension, dict(options), low_priority)
    try:
        return child.result(advance)
    except DiskFullError:
        shutil.rmtree(folder, ignore_errors=True)
        raise


class Child:
    """A process that builds an engine in `folder` and dies with its parent.

    It runs `work(connection, kind, folder, *arguments)`, which returns the recall of a quantized index.
    """

    def __init__(self, kind: str, folder: Path, work: Callable[..., float | None], *arguments: Any):
        self._kind, self._folder = kind, folder
        self._connection, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_child, args=(theirs, work, kind, folder, *arguments))
        try:
            with _without_interrupts(), _without_main():
                self._process.start()
        except (EOFError, OSError) as error:
            self._connection.close()
            what = f"the process that builds the {kind} index could not be started or was ended from outside"
            raise CbirError(f"{what} ({error}). Run the same command again.") from None
        finally:
            theirs.close()

    def tell(self, message: object) -> None:
        """Send something to `work`; nothing happens if the process has ended."""
        with suppress(OSError):
            self._connection.send(message)

    def result(self, advance: Callable[[int], None]) -> float | None:
        """Wait for the end; `advance` is called with the number of points added. Raise what went wrong there."""
        try:
            while True:
                try:
                    message = self._connection.recv()
                except (EOFError, OSError):
                    self._process.join()
                    raise _died(self._kind, self._folder, self._process.exitcode) from None
                if isinstance(message, _Built):
                    self._process.join()
                    _peaks.append(message.peak)
                    return message.recall
                if isinstance(message, CbirError):
                    raise message
                advance(message)
        finally:
            self.kill()

    def kill(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._connection.close()


@contextmanager
def _without_main() -> Iterator[None]:
    """Keep child processes from importing `__main__`: a script without a guard would run again."""
    with _HIDING:
        main = vars(sys.modules["__main__"])
        before = {name: main.get(name) for name in ("__spec__", "__file__")}
        main["__spec__"] = main["__file__"] = None
        try:
            yield
        finally:
            main.update(before)


def _child(connection: Connection, work: Callable[..., float | None], kind: str, folder: Path, *arguments: Any) -> None:
    _die_with_parent()
    try:
        recall = work(connection, kind, folder, *arguments)
        connection.send(_Built(peak_memory(), recall))
    except Exception as error:  # the parent raises it
        message = f"building {folder.name} failed: {error or type(error).__name__}"
        failed = disk_full_error(message) if is_disk_full(error, folder.parent) else CbirError(message)
        with suppress(OSError):  # the parent was killed
            connection.send(UsageError(str(error)) if isinstance(error, UsageError) else failed)


def _build(
    connection: Connection,
    kind: str,
    folder: Path,
    log_folder: Path,
    dimension: int,
    options: dict[str, str],
    low_priority: bool,
) -> float | None:
    if low_priority:
        os.nice(_LOW)
    log = VectorLog(log_folder, dimension)
    ENGINES[kind].load().build(folder, log, options, connection.send)
    return check(kind, folder, log, options)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Block Ctrl-C: a process that is started meanwhile never receives it, and this one receives it afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _die_with_parent() -> None:
    """Let Linux kill this process when its parent dies; elsewhere its next message fails."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        os._exit(1)


def check(kind: str, folder: Path, log: VectorLog, options: Mapping[str, str]) -> float | None:
    """Search for some stored vectors: a scan must find each with its score, and the index must return a hit.

    Return the recall of a quantized index.
    """
    index = ENGINES[kind].load().open_index(folder, log, options)
    try:
        positions = np.random.default_rng(0).permutation(len(log))[:SAMPLED].tolist()
        for position in positions:
            vector = log.vector(position)
            scores, _ = index.search(vector[None], 1, SearchParams(exact=True))
            best = float(scores.max(initial=0))
            if abs(best - float(vector @ vector)) > max(_MAX_SCORE_ERROR, index.error):
                raise DamageError(f"the stored vector of {log.id(position)} is not found again (score {best:.4f})")
            if (index.search(vector[None], 1)[1] < 0).all():
                raise DamageError(f"the index finds nothing for the stored vector of {log.id(position)}")
        if not is_quantized(options):
            return None

        def search(vectors: Vector, k: int, params: SearchParams) -> list[list[Hit]]:
            def fetch(chosen: Chosen, wanted: int) -> list[Row[int]]:
                return rows_of(index.search(vectors[chosen], wanted, params))

            return best_hits(fetch, k, log.id, partial(stored_hits, log))

        return sample_recall(search, ((log.id(position), log.vector(position)) for position in positions))
    finally:
        index.close()


def _died(kind: str, folder: Path, exitcode: int | None) -> CbirError:
    what = f"the process that built the {kind} index in {folder} was ended"
    if exitcode is None or exitcode >= 0:
        return CbirError(f"{what} with code {exitcode}")
    name = signal.Signals(-exitcode).name
    if name == "SIGBUS" or is_disk_full(CbirError(), folder.parent):  # the engine writes through memory maps
        return disk_full_error(f"{what} by {name}")
    return CbirError(f"{what} by {name}{'; memory may have run out' if name == 'SIGKILL' else ''}")
