"""What an index costs on this machine: made-up vectors are stored, indexed and searched.

Time is processor time, summed over threads: what else the machine does then hardly counts. What is built and what is
searched have processes of their own, so that their memory can be told.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cbir.index.log_format import segment_path
from cbir.index.log_writer import LogWriter
from cbir.index.vector_log import VectorLog
from cbir.records import Payload, Point, Vector, digest, point_id
from cbir.stores.embedded.build import peak_memory

from ..core.ground_truth import nearest_rows
from ..core.measured_process import apart
from ..core.stores import Engine
from ..core.synthetic import clustered

QUERIES, K = 200, 10
_CHUNK = 1000
_WARM_UP = 20
_QUERY_SEED = 2**32


@dataclass(frozen=True)
class Costs:
    """What an index costs, measured or predicted.

    Attributes:
        core_seconds: Processor time of building it from a vector log.
        disk_bytes: Its files, as the disk allots them.
        build_bytes: Most memory of the process that builds it, with the files that it maps.
        serve_bytes: Most memory of a process that opened and searched it, with the files that it maps.
        search_milliseconds: Processor time of one search, the median.
    """

    core_seconds: float
    disk_bytes: float
    build_bytes: float
    serve_bytes: float
    search_milliseconds: float


@dataclass(frozen=True)
class Run:
    """One index of so many points that was built, in `seconds` of the clock, and searched; recall@10 is the mean.

    `loading` is the part of the core seconds until the last vector was handed over.
    """

    points: int
    costs: Costs
    loading: float
    seconds: float
    access: str
    recall: float


def write_log(folder: Path, count: int, dimension: int, payload: Payload) -> int:
    """Write a log of `count` clustered vectors without thumbnails, all with this payload; return its bytes."""
    writer = LogWriter(segment_path(folder, 1), dimension)
    try:
        for start in range(0, count, _CHUNK):
            vectors = clustered(min(_CHUNK, count - start), dimension, start)
            writer.append([_point(number, vector, payload) for number, vector in enumerate(vectors, start)])
        return writer.size
    finally:
        writer.close()


def _point(number: int, vector: Vector, payload: Payload) -> Point:
    own = {**payload, "key": str(number)}
    return Point(point_id("made-up", str(number)), vector, own, str(number), b"", digest(own))


def run_engine(engine: Engine, folder: Path, log: Path, dimension: int) -> Run:
    """Build an index of a log in the missing `folder` and search it, each in a process of its own."""
    points, core_seconds, loading, seconds, build_bytes = apart(_build, engine, folder, log, dimension)
    access, recall, milliseconds, serve_bytes = apart(_search, engine, folder, log, dimension)
    disk_bytes = sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
    costs = Costs(core_seconds, disk_bytes, build_bytes, serve_bytes, milliseconds)
    return Run(points, costs, loading, seconds, access, recall)


def _build(engine: Engine, folder: Path, log_folder: Path, dimension: int) -> tuple[int, float, float, float, int]:
    """Return points, core seconds in all and until the last vector was added, seconds, and most memory."""
    log = VectorLog(log_folder, dimension)
    engine.load()
    loaded = 0.0

    def advance(count: int) -> None:
        nonlocal loaded
        loaded = time.process_time() - start

    clock, start = time.perf_counter(), time.process_time()
    engine.build(folder, log, advance)
    spent = time.process_time() - start
    return len(log), spent, loaded, time.perf_counter() - clock, peak_memory()


def _search(engine: Engine, folder: Path, log_folder: Path, dimension: int) -> tuple[str, float, float, int]:
    """Return how it searches, mean recall, the median of a search's milliseconds, and most memory."""
    log = VectorLog(log_folder, dimension)
    index = engine.open(folder, log)
    queries, k = clustered(QUERIES, dimension, _QUERY_SEED), min(K, len(log))
    spent, found = [], []
    try:
        for query in [*queries[:_WARM_UP], *queries]:
            start = time.process_time()
            hits = index.search(query[None], k)[0]
            spent.append(time.process_time() - start)
            found.append({hit.id for hit in hits})
        memory = peak_memory()
    finally:
        index.close()
    nearest = nearest_rows(log.vectors, len(log), queries, k)
    truth = [{log.id(row) for row in rows} for rows in nearest.tolist()]
    recall = float(np.mean([len(one & best) / k for one, best in zip(found[_WARM_UP:], truth, strict=True)]))
    return index.access, recall, float(np.median(spent[_WARM_UP:])) * 1e3, memory
