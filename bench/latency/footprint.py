"""What an embedded index takes: its files by what they hold, and the memory of a process that opens and searches it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from cbir.index.files import files_below
from cbir.settings import Settings
from cbir.stores.base import StoreInfo
from cbir.stores.registry import open_store

from ..core.measured_process import apart
from ..core.stores import index_folder, kind_of, loaded_generation

PARTS = {"quantized.data": "codes", "vector_index": "graph", "vector_storage": "vectors"}
"""What the files of a Qdrant segment hold, by a part of their path; a FAISS index is one file that holds all of it."""


@dataclass(frozen=True)
class Memory:
    """Resident memory of a process in megabytes.

    Attributes:
        own: Of no file: gone when the process ends, and kept unless there is swap.
        mapped: Pages of files (programs, vectors, the log); the system takes them back where memory is short.
    """

    own: float
    mapped: float


@dataclass(frozen=True)
class Growth:
    """What the memory of a process with libraries and vector log open grew by: with the index open, and searched."""

    opened: Memory
    searched: Memory


@dataclass(frozen=True)
class Footprint:
    """One embedded index.

    Attributes:
        disk_megabytes: Its files, as the disk allots them.
        parts: The same by what they hold: "vectors", "codes" (quantized vectors), "graph", "rest"; FAISS: "all".
        walked_megabytes: Of them, what every search walks through and so has to be in memory: the graph, and the codes
            or, where there are none, the vectors; all of FAISS.
        memory: What it takes in a process of its own.
    """

    store: str
    disk_megabytes: float
    parts: dict[str, float]
    walked_megabytes: float
    share: float
    memory: Growth


def measure(info: StoreInfo, queries: Sequence[str], k: int) -> Footprint | None:
    """Return the footprint of a store whose queries are stored points with these ids; None for a server."""
    folder = index_folder(info)
    if folder is None:
        return None
    parts = _parts(folder, kind_of(info.url))
    walked = ("graph", "codes") if "codes" in parts else ("graph", "vectors", "all")
    walked_megabytes = sum(parts.get(name, 0.0) for name in walked)
    return Footprint(
        store=info.url,
        disk_megabytes=sum(parts.values()),
        parts=parts,
        walked_megabytes=walked_megabytes,
        share=walked_megabytes / (info.count * info.model.dimension * 4 / 1e6),
        memory=apart(grow, info.url, info.collection, list(queries), k),
    )


def _parts(folder: Path, kind: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for path in files_below(folder):
        name = path.relative_to(folder).as_posix()
        part = next((part for mark, part in PARTS.items() if mark in name), "rest") if kind == "edge" else "all"
        found[part] = found.get(part, 0.0) + path.stat().st_blocks * 512 / 1e6
    return found


def grow(url: str, collection: str, queries: Sequence[str], k: int) -> Growth:
    """Open a store in this process, search it, and return what its memory grew by."""
    log = loaded_generation(url, collection).log()
    vectors = [log.vector(position) for one in queries if (position := log.position(one)) is not None]
    before = _memory()
    store = open_store(url, collection, Settings())
    opened = _memory()
    for vector in vectors:
        store.search(vector[None], k)
    searched = _memory()
    store.close()
    return Growth(*(Memory(now.own - before.own, now.mapped - before.mapped) for now in (opened, searched)))


def _memory() -> Memory:
    info = psutil.Process().memory_info()
    mapped = getattr(info, "shared", 0)  # only Linux tells
    return Memory((info.rss - mapped) / 1e6, mapped / 1e6)
