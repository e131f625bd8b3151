"""Builds an engine in a process of its own: it holds the interpreter's lock for minutes, and may die of a full disk."""

import multiprocessing
import signal
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from cbir.errors import CbirError, DamageError, UsageError
from cbir.stores import ENGINE_KINDS
from cbir.vector_log import VectorLog

_CHECKED = 50
_MAX_SCORE_ERROR = 1e-3


def build_engine(
    kind: str,
    folder: Path,
    log: Path,
    dimension: int,
    options: Mapping[str, str],
    advance: Callable[[int], None],
) -> None:
    """Build and check one engine in a child process; `advance` is called with the number of points added.

    Raises:
        CbirError: The engine failed or its process died; UsageError: it cannot be built with these options.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(sender, kind, folder, log, dimension, dict(options)))
    child.start()
    sender.close()
    try:
        while True:
            try:
                message = receiver.recv()
            except EOFError:
                child.join()
                raise CbirError(_died(kind, folder, child.exitcode)) from None
            if message is None:
                child.join()
                return
            if isinstance(message, CbirError):
                raise message
            advance(message)
    finally:
        child.kill()
        child.join()
        receiver.close()


def _child(
    sender: Connection, kind: str, folder: Path, log_folder: Path, dimension: int, options: dict[str, str]
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends this process
    try:
        log = VectorLog(log_folder, dimension)
        engine = ENGINE_KINDS[kind].load()
        engine.build(folder, log, options, sender.send)
        _check(kind, folder, log, options)
        sender.send(None)
    except UsageError as error:
        sender.send(UsageError(str(error)))
    except (CbirError, OSError, MemoryError) as error:
        sender.send(CbirError(f"building {folder.name} failed: {error}"))


def _check(kind: str, folder: Path, log: VectorLog, options: Mapping[str, str]) -> None:
    """Search for some stored vectors with an exact scan: each must come back with the score it has."""
    index = ENGINE_KINDS[kind].load().open_index(folder, log, options)
    try:
        for position in np.random.default_rng(0).permutation(len(log))[:_CHECKED].tolist():
            vector = log.vector(position)
            best = max((hit.score for hit in index.search(vector[None], 1, True)[0]), default=0.0)
            if abs(best - float(vector @ vector)) > _MAX_SCORE_ERROR:
                raise DamageError(f"the stored vector of {log.id(position)} is not found again (score {best:.4f})")
    finally:
        index.close()


def _died(kind: str, folder: Path, exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        hint = (
            "; the disk may be full" if name == "SIGBUS" else "; memory may have run out" if name == "SIGKILL" else ""
        )
        return f"the process that built the {kind} index in {folder} was ended by {name}{hint}"
    return f"the process that built the {kind} index in {folder} ended with code {exitcode}"
