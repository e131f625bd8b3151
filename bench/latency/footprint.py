"""The size of an embedded index: its files, and the memory of a process that searches it."""

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

_WALKED = {"quantized.data": "codes", "vector_index": "graph", "vector_storage": "vectors"}
"""What the files of a Qdrant segment that a search walks through hold, by a part of their path."""


@dataclass(frozen=True)
class Footprint:
    """One embedded index.

    Attributes:
        disk_megabytes: Space that its files take on the disk.
        walked_megabytes: The part that every search walks through and that should be in memory: the graph, and the
            codes (quantized vectors) or else the vectors; all of FAISS.
        share: `walked_megabytes` by the size of the vectors as float32.
        own_megabytes: How much the memory of a process with the vector log open grew by opening and searching the
            index: memory that belongs to no file, which only swapping can free.
        mapped_megabytes: The same for pages of files, which the system takes back when memory is short.
    """

    store: str
    disk_megabytes: float
    walked_megabytes: float
    share: float
    own_megabytes: float
    mapped_megabytes: float


def measure(info: StoreInfo, queries: Sequence[str], k: int) -> Footprint | None:
    """Return the footprint of a store, searched with the stored points `queries`; None for a server."""
    folder = index_folder(info)
    if folder is None:
        return None
    disk, walked = sizes(folder, kind_of(info.url))
    share = walked / (info.count * info.model.dimension * 4 / 1e6)
    return Footprint(info.url, disk, walked, share, *apart(growth, info.url, info.collection, list(queries), k))


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


def growth(url: str, collection: str, queries: Sequence[str], k: int) -> tuple[float, float]:
    """Open and search a store in this process; return how much its own and its mapped memory grew."""
    log = loaded_generation(url, collection).log()
    vectors = [log.vector(row) for id_ in queries if (row := log.position(id_)) is not None]
    before = _memory()
    store = open_store(url, collection, Settings())
    for vector in vectors:
        store.search(vector[None], k)
    after = _memory()
    store.close()
    return after[0] - before[0], after[1] - before[1]


def _memory() -> tuple[float, float]:
    info = psutil.Process().memory_info()
    mapped = getattr(info, "shared", 0)  # Linux only
    return (info.rss - mapped) / 1e6, mapped / 1e6
