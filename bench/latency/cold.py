"""The first searches of a process that has just opened an index whose files are not in memory.

Run as `python -m cbir.bench.latency.cold JSON`; prints what it measured as one line of JSON.
"""

import json
import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cbir.index.generation import files_below, open_generation
from cbir.settings import Settings
from cbir.stores.base import ENGINE_KINDS, locate, open_store, parse

from ..core.measured_process import run_child
from ..ingest.measure import Spread, spread
from .measure import timed

QUERIES = 200
_AFTER = 100


@dataclass(frozen=True)
class Cold:
    """One embedded index, opened in processes of their own.

    Attributes:
        store: Its URL.
        dropped: Whether the system was asked to take the index's files out of memory first.
        open_ms: Opening it; the files are hashed, and so read.
        first_ms: The first search.
        next_ms: The median of the next 99.
        warm_ms: The median of 100 after that.
    """

    store: str
    dropped: bool
    open_ms: Spread
    first_ms: Spread
    next_ms: Spread
    warm_ms: Spread


def measure(url: str, collection: str, k: int, seed: int, rounds: int) -> Cold | None:
    """Return what the first searches of a store take; None for a server, which nobody here can start anew.

    To be called before this process opens the store: files that it has in use stay in memory.

    Raises:
        CbirError: The process that opens it failed.
    """
    if not parse(url).embedded:
        return None
    task = json.dumps({"url": url, "collection": collection, "k": k, "seed": seed})
    command = [sys.executable, "-m", "cbir.bench.latency.cold", task]
    found = [run_child(f"opening {url}", command).printed for _ in range(rounds)]

    def over(name: str) -> Spread:
        return spread([float(one[name]) for one in found])

    return Cold(url, bool(found[0]["dropped"]), over("open_ms"), over("first_ms"), over("next_ms"), over("warm_ms"))


def first_searches(url: str, collection: str, k: int, seed: int) -> dict[str, Any]:
    """Open a store in this process and search it; return the milliseconds."""
    parsed = parse(url)
    (place,) = locate([parsed])
    ENGINE_KINDS[parsed.kind].load()
    generation = open_generation(place.root, collection)
    log = generation.log()
    rng = np.random.default_rng(seed)
    vectors = [log.vector(int(at)) for at in rng.integers(0, len(log), QUERIES)]
    dropped = drop(generation.folder)
    opened: list[Any] = []
    open_ms = timed(lambda: opened.append(open_store(url, collection, Settings())))
    (store,) = opened
    spent = [timed(partial(store.search, vector[None], k)) for vector in vectors]
    store.close()
    return {
        "dropped": dropped,
        "open_ms": open_ms,
        "first_ms": spent[0],
        "next_ms": float(np.median(spent[1:_AFTER])),
        "warm_ms": float(np.median(spent[_AFTER:])),
    }


def drop(folder: Path) -> bool:
    """Ask the system to take a folder's files out of memory; return whether it can be asked at all."""
    if not hasattr(os, "posix_fadvise"):
        return False
    for path in files_below(folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)
    return True


if __name__ == "__main__":
    sys.stdout.write(json.dumps(first_searches(**json.loads(sys.argv[1]))) + "\n")
