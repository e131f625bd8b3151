"""What an embedded index takes: its files by what they hold, and the memory of a process that opens and searches it.

Run as `python -m cbir.bench.ingest.footprint JSON`; prints the memory as one line of JSON.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cbir.index.generation import open_generation
from cbir.settings import Settings
from cbir.stores.base import ENGINE_KINDS, StoreInfo, locate, open_store, parse

from ..core.measured_process import run_child

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
    """What the memory of a process grew by, which had the libraries loaded and the vector log open before.

    Attributes:
        opened: When the index was opened.
        searched: When the queries were answered, too.
    """

    opened: Memory
    searched: Memory


@dataclass(frozen=True)
class Footprint:
    """One embedded index.

    Attributes:
        store: Its URL.
        disk_megabytes: Its files, as the disk allots them.
        parts: The same by what they hold: "vectors", "codes" (quantized vectors), "graph", "rest"; FAISS: "all".
        walked_megabytes: Of them, what every search walks through and so has to be in memory: the graph, and the codes
            or, where there are none, the vectors; all of FAISS.
        share: Of the float32 vectors alone.
        memory: What it takes in a process of its own; None where there is no /proc.
    """

    store: str
    disk_megabytes: float
    parts: dict[str, float]
    walked_megabytes: float
    share: float
    memory: Growth | None


def measure(info: StoreInfo, queries: Sequence[str], k: int) -> Footprint | None:
    """Return the footprint of a store whose queries are stored points with these ids; None for a server.

    Raises:
        CbirError: The process that opens it failed.
    """
    url = parse(info.url)
    if not url.embedded:
        return None
    (place,) = locate([url])
    parts = _parts(place.root / info.collection / info.generation / place.name, url.kind)
    task = {"url": info.url, "collection": info.collection, "queries": list(queries), "k": k}
    child = run_child(f"opening {info.url}", [sys.executable, "-m", "cbir.bench.ingest.footprint", json.dumps(task)])
    memory = child.printed["memory"]
    walked = ("graph", "codes") if "codes" in parts else ("graph", "vectors", "all")
    walked_megabytes = sum(parts.get(name, 0.0) for name in walked)
    return Footprint(
        store=info.url,
        disk_megabytes=sum(parts.values()),
        parts=parts,
        walked_megabytes=walked_megabytes,
        share=walked_megabytes / (info.count * info.model.dimension * 4 / 1e6),
        memory=memory and Growth(Memory(**memory["opened"]), Memory(**memory["searched"])),
    )


def _parts(folder: Path, kind: str) -> dict[str, float]:
    """Return megabytes by what the files hold."""
    found: dict[str, float] = {}
    for path in folder.rglob("*"):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            part = next((part for mark, part in PARTS.items() if mark in name), "rest") if kind == "edge" else "all"
            found[part] = found.get(part, 0.0) + path.stat().st_blocks * 512 / 1e6
    return found


def grow(url: str, collection: str, queries: Sequence[str], k: int) -> Growth | None:
    """Open a store in this process, search it, and return what its memory grew by."""
    (place,) = locate([parse(url)])
    ENGINE_KINDS[place.url.kind].load()
    log = open_generation(place.root, collection).log()
    vectors = [log.vector(position) for one in queries if (position := log.position(one)) is not None]
    before = _memory()
    store = open_store(url, collection, Settings())
    opened = _memory()
    for vector in vectors:
        store.search(vector[None], k)
    searched = _memory()
    store.close()
    if before is None or opened is None or searched is None:
        return None
    return Growth(_less(opened, before), _less(searched, before))


def _less(one: Memory, other: Memory) -> Memory:
    return Memory(one.own - other.own, one.mapped - other.mapped)


def _memory() -> Memory | None:
    try:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return None
    kilobytes: Mapping[str, int] = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    own = kilobytes["Anonymous"] / 1000
    return Memory(own, kilobytes["Rss"] / 1000 - own)


if __name__ == "__main__":
    grown = grow(**json.loads(sys.argv[1]))
    sys.stdout.write(json.dumps({"memory": grown and asdict(grown)}) + "\n")
