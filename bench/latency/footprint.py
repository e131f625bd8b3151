"""The size of an embedded index: its files by what they hold, and the memory of a process that searches it."""

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
"""What the files of a Qdrant segment hold, by a part of their path. A FAISS index is one file that holds everything."""


@dataclass(frozen=True)
class Memory:
    """Resident memory of a process in megabytes.

    Attributes:
        own: Memory that belongs to no file, which only swapping can free.
        mapped: Pages of files (programs, vectors, the log), which the system takes back when memory is short.
    """

    own: float
    mapped: float

    def minus(self, other: "Memory") -> "Memory":
        """Return the difference to an earlier state."""
        return Memory(self.own - other.own, self.mapped - other.mapped)


@dataclass(frozen=True)
class Footprint:
    """One embedded index.

    Attributes:
        disk_megabytes: Space that its files take on the disk.
        parts: The same by what they hold: "vectors", "codes" (quantized vectors), "graph", "rest"; FAISS: "all".
        walked_megabytes: The part that every search walks through and that should be in memory: the graph, and the
            codes or else the vectors; all of FAISS.
        share: `walked_megabytes` by the size of the vectors as float32.
        opened: How much the memory of a process with the vector log open grew by opening the index.
        searched: How much it had grown after searching it.
    """

    store: str
    disk_megabytes: float
    parts: dict[str, float]
    walked_megabytes: float
    share: float
    opened: Memory
    searched: Memory


def measure(info: StoreInfo, queries: Sequence[str], k: int) -> Footprint | None:
    """Return the footprint of a store, searched with the stored points `queries`; None for a server."""
    folder = index_folder(info)
    if folder is None:
        return None
    parts = _parts(folder, kind_of(info.url))
    walked = ("graph", "codes") if "codes" in parts else ("graph", "vectors", "all")
    walked_megabytes = sum(parts.get(name, 0.0) for name in walked)
    opened, searched = apart(grow, info.url, info.collection, list(queries), k)
    return Footprint(
        store=info.url,
        disk_megabytes=sum(parts.values()),
        parts=parts,
        walked_megabytes=walked_megabytes,
        share=walked_megabytes / (info.count * info.model.dimension * 4 / 1e6),
        opened=opened,
        searched=searched,
    )


def _parts(folder: Path, kind: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for path in files_below(folder):
        name = path.relative_to(folder).as_posix()
        part = next((part for mark, part in PARTS.items() if mark in name), "rest") if kind == "edge" else "all"
        found[part] = found.get(part, 0.0) + path.stat().st_blocks * 512 / 1e6
    return found


def grow(url: str, collection: str, queries: Sequence[str], k: int) -> tuple[Memory, Memory]:
    """Open a store in this process, search it, and return how much the memory grew."""
    log = loaded_generation(url, collection).log()
    vectors = [log.vector(row) for id_ in queries if (row := log.position(id_)) is not None]
    before = _memory()
    store = open_store(url, collection, Settings())
    opened = _memory()
    for vector in vectors:
        store.search(vector[None], k)
    searched = _memory()
    store.close()
    return opened.minus(before), searched.minus(before)


def _memory() -> Memory:
    info = psutil.Process().memory_info()
    mapped = getattr(info, "shared", 0)  # Linux only
    return Memory((info.rss - mapped) / 1e6, mapped / 1e6)
