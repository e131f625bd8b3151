"""The first searches of a process that has just opened an index whose files are not in memory."""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cbir.index.files import files_below
from cbir.settings import Settings
from cbir.stores.registry import open_store

from ..core.measured_process import apart
from ..core.stores import loaded_generation, location_of
from ..core.timing import Spread, spread, timed

ROUNDS = 3
QUERIES = 200
_AFTER = 100


@dataclass(frozen=True)
class Cold:
    """One embedded index, opened in processes of their own.

    Attributes:
        dropped: Whether the system was asked to remove the index's files from memory first.
        open_ms: Opening it, which hashes and so reads the files.
        next_ms: The median of the next 99 searches.
        warm_ms: The median of 100 searches after that.
    """

    store: str
    dropped: bool
    open_ms: Spread
    first_ms: Spread
    next_ms: Spread
    warm_ms: Spread


def measure(url: str, collection: str, k: int, seed: int, rounds: int = ROUNDS) -> Cold | None:
    """Return what the first searches of a store take; None for a server, which cannot be restarted here.

    Call it before this process opens the store: files that are in use stay in memory.
    """
    if location_of(url) is None:
        return None
    dropped, *spent = zip(*(apart(first_searches, url, collection, k, seed) for _ in range(rounds)), strict=True)
    return Cold(url, dropped[0], *map(spread, spent))


def first_searches(url: str, collection: str, k: int, seed: int) -> tuple[bool, float, float, float, float]:
    """Open a store in this process and search it; return the numbers of `Cold`."""
    generation = loaded_generation(url, collection)
    log = generation.log()
    rng = np.random.default_rng(seed)
    vectors = [log.vector(int(row)) for row in rng.integers(0, len(log), QUERIES)]
    dropped = drop(generation.folder)
    opened: list[Any] = []
    open_ms = timed(lambda: opened.append(open_store(url, collection, Settings())))
    (store,) = opened
    spent = [timed(partial(store.search, vector[None], k)) for vector in vectors]
    store.close()
    return dropped, open_ms, spent[0], float(np.median(spent[1:_AFTER])), float(np.median(spent[_AFTER:]))


def drop(folder: Path) -> bool:
    """Ask the system to remove a folder's files from memory; return whether this system can do that."""
    if not hasattr(os, "posix_fadvise"):
        return False
    for path in files_below(folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)
    return True
