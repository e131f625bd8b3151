"""Embedded indexes opened in a new process: the first searches, whose files are not in memory, and the index's size."""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil

from cbir.index.files import files_below
from cbir.index.generation import open_generation
from cbir.settings import Settings
from cbir.stores.engines import ENGINES
from cbir.stores.registry import open_store
from cbir.tables import Column, Range

from ..core.measured_process import apart
from ..core.stores import kind_of, location_of
from ..core.timing import spread, timed
from ..core.workload import require_enough

ROUNDS = 3
QUERIES = 200
_AFTER = 100
_WALKED = {"quantized.data": "codes", "vector_index": "graph", "vector_storage": "vectors"}
"""What the files of a Qdrant segment that a search walks through hold, by a part of their path."""


@dataclass(frozen=True)
class Opening:
    """Opening an index in a new process, which reads its files, the first search, and medians of 99 and of 100 more.

    `dropped` is whether the system was asked to remove the files from memory first.
    """

    dropped: bool
    open_ms: Annotated[Range, Column("opening", "ms", ".3g", "lower")]
    first_ms: Annotated[Range, Column("first search", "ms", ".3g", "lower")]
    next_ms: Annotated[Range, Column("next 99, median", "ms", ".3g", "lower")]
    warm_ms: Annotated[Range, Column("then", "ms", ".3g", "lower")]


@dataclass(frozen=True)
class Size:
    """Megabytes of an index on the disk, of what every search walks through, and by how much a process grew with it.

    `share` is the walked part by the size of the vectors as float32. The process had the vector log open; the system
    takes back its mapped pages when memory is short, but not its own.
    """

    disk: Annotated[float, Column("disk", "MB", ",.1f", "lower")]
    walked: Annotated[float, Column("walked", "MB", ",.1f")]
    share: Annotated[float, Column("/ vectors", format=".2f")]
    own: Annotated[float, Column("own memory", "MB", ",.1f")]
    mapped: Annotated[float, Column("mapped memory", "MB", ",.1f")]


def measure(
    url: str, collection: str, k: int, seed: int, rounds: int = ROUNDS
) -> tuple[Opening, Size] | tuple[None, None]:
    """Return what a new process needs to search a store; nothing for a server, which cannot be restarted here.

    Call it before this process opens the store: files that are in use stay in memory. Raise `UsageError` if the
    collection has too few points.
    """
    location = location_of(url)
    if location is None:
        return None, None
    generation = open_generation(location.root, collection)
    require_enough(collection, generation.count)
    dropped, *spent, own, mapped = zip(
        *(apart(_open, url, location.root, collection, k, seed) for _ in range(rounds)), strict=True
    )
    disk, walked = sizes(generation.folder / location.name, kind_of(url))
    vectors = generation.count * generation.manifest.model.dimension * 4 / 1e6
    size = Size(disk, walked, walked / vectors, float(np.median(own)), float(np.median(mapped)))
    return Opening(dropped[0], *map(spread, spent)), size


def _open(url: str, root: Path, collection: str, k: int, seed: int) -> tuple[Any, ...]:
    """Open a store in this process and search it; return the numbers of `Opening`, and how much its memory grew."""
    ENGINES[kind_of(url)].load()  # the time and the memory of the library are not the index's
    generation = open_generation(root, collection)
    log = generation.log()
    rng = np.random.default_rng(seed)
    vectors = [log.vector(int(row)) for row in rng.integers(0, len(log), QUERIES)]
    dropped, before = drop(generation.folder), _memory()
    opened: list[Any] = []
    open_ms = timed(lambda: opened.append(open_store(url, collection, Settings())))
    (store,) = opened
    spent = [timed(partial(store.search, vector[None], k)) for vector in vectors]
    grown = _memory() - before
    store.close()
    return dropped, open_ms, spent[0], float(np.median(spent[1:_AFTER])), float(np.median(spent[_AFTER:])), *grown


def drop(folder: Path) -> bool:
    """Ask the system to remove a folder's files from memory; return whether this system can do that."""
    if not hasattr(os, "posix_fadvise"):
        return False
    for path in files_below(folder):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return True


def sizes(folder: Path, kind: str) -> tuple[float, float]:
    """Return the megabytes of an index on the disk, and of its files that a search walks through."""
    parts: dict[str, float] = {}
    for path in files_below(folder):
        name = path.relative_to(folder).as_posix()
        part = next((part for mark, part in _WALKED.items() if mark in name), "rest")
        parts[part] = parts.get(part, 0.0) + path.stat().st_blocks * 512 / 1e6
    disk = sum(parts.values())
    vectors = parts.get("codes") or parts.get("vectors", 0.0)
    return disk, parts.get("graph", 0.0) + vectors if kind == "edge" else disk


def _memory() -> np.ndarray:
    """Return this process's own and mapped megabytes."""
    info = psutil.Process().memory_info()
    mapped = getattr(info, "shared", 0)  # Linux only
    return np.array([info.rss - mapped, mapped]) / 1e6
