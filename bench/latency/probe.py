"""What an index costs on this machine: made-up vectors are stored, indexed and searched.

Time is processor time, summed over threads: what else the machine does then hardly counts. What is built and what is
searched have processes of their own, so that their memory can be told.
"""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from cbir.errors import CbirError
from cbir.index.memory import peak_memory
from cbir.index.vector_log import LogWriter, VectorLog, segment_path
from cbir.records import Payload, Point, Vector, digest, point_id
from cbir.stores.base import ENGINE_KINDS

T = TypeVar("T")

QUERIES, K = 200, 10
_CLUSTERS, _LATENT = 1000, 24
_CHUNK = 1000
_EXACT_ROWS = 20_000
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
    """One index that was built and searched.

    Attributes:
        points: Vectors in it.
        costs: What it cost.
        loading: Core seconds of these until the last vector was handed over.
        seconds: How long building took by the clock.
        access: How it searches: "graph", "scan" or "lists".
        recall: Mean recall@10 against the exact answer.
    """

    points: int
    costs: Costs
    loading: float
    seconds: float
    access: str
    recall: float


def clustered(count: int, dimension: int, seed: int) -> Vector:
    """Return made-up unit vectors, float32 (count, dimension), that lie as those of pictures do.

    A thousand clusters in 24 dimensions, turned into `dimension` ones, and a little noise: independent random vectors
    have no neighbours, and no index finds them.
    """
    space = np.random.default_rng(0)
    centres = space.standard_normal((_CLUSTERS, _LATENT), np.float32)
    turn = space.standard_normal((_LATENT, dimension), np.float32)
    rng = np.random.default_rng(seed)
    latent = centres[rng.integers(_CLUSTERS, size=count)] + 0.7 * rng.standard_normal((count, _LATENT), np.float32)
    vectors = latent @ turn + 0.5 * rng.standard_normal((count, dimension), np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def write_log(folder: Path, count: int, dimension: int, payload: Payload) -> int:
    """Write a log of `count` clustered vectors without thumbnails, all with this payload; return its bytes."""
    writer = LogWriter(segment_path(folder, 1), dimension)
    try:
        for start in range(0, count, _CHUNK):
            writer.append(list(_points(start, min(_CHUNK, count - start), dimension, payload)))
        return writer.size
    finally:
        writer.close()


def _points(start: int, count: int, dimension: int, payload: Payload) -> Iterator[Point]:
    for number, vector in enumerate(clustered(count, dimension, start), start):
        own = {**payload, "key": str(number)}
        yield Point(point_id("made-up", str(number)), vector, own, str(number), b"", digest(own))


def run_engine(kind: str, options: dict[str, str], folder: Path, log: Path, dimension: int) -> Run:
    """Build an index of a log in the missing `folder` and search it, each in a process of its own.

    Raises:
        UsageError: The engine takes no such options, or needs more points for them.
        CbirError: The process died.
    """
    points, core_seconds, loading, seconds, build_bytes = apart(_build, kind, options, folder, log, dimension)
    access, recall, milliseconds, serve_bytes = apart(_search, kind, options, folder, log, dimension)
    disk_bytes = sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
    costs = Costs(core_seconds, disk_bytes, build_bytes, serve_bytes, milliseconds)
    return Run(points, costs, loading, seconds, access, recall)


def _build(
    kind: str, options: dict[str, str], folder: Path, log_folder: Path, dimension: int
) -> tuple[int, float, float, float, int]:
    """Return points, core seconds in all and until the last vector was added, seconds, and most memory."""
    log = VectorLog(log_folder, dimension)
    engine = ENGINE_KINDS[kind].load()
    loaded = 0.0

    def advance(count: int) -> None:
        nonlocal loaded
        loaded = time.process_time() - start

    clock, start = time.perf_counter(), time.process_time()
    engine.build(folder, log, options, advance)
    spent = time.process_time() - start
    return len(log), spent, loaded, time.perf_counter() - clock, peak_memory()


def _search(
    kind: str, options: dict[str, str], folder: Path, log_folder: Path, dimension: int
) -> tuple[str, float, float, int]:
    """Return how it searches, mean recall, the median of a search's milliseconds, and most memory."""
    log = VectorLog(log_folder, dimension)
    index = ENGINE_KINDS[kind].load().open_index(folder, log, options)
    queries, k = clustered(QUERIES, dimension, _QUERY_SEED), min(K, len(log))
    spent, found = [], []
    try:
        for query in [*queries[:_WARM_UP], *queries]:
            start = time.process_time()
            hits = index.search(query[None], k, False)[0]
            spent.append(time.process_time() - start)
            found.append({hit.id for hit in hits})
        memory = peak_memory()
    finally:
        index.close()
    truth = _exact(log, queries, k)
    recall = float(np.mean([len(one & best) / k for one, best in zip(found[_WARM_UP:], truth, strict=True)]))
    return index.access, recall, float(np.median(spent[_WARM_UP:])) * 1e3, memory


def _exact(log: VectorLog, queries: Vector, k: int) -> list[set[str]]:
    """Return the ids of each query's k best points, by products with all vectors."""
    scores = np.empty((len(queries), 0), np.float32)
    positions = np.empty((len(queries), 0), np.int64)
    for start in range(0, len(log), _EXACT_ROWS):
        block = queries @ log.vectors(start, start + _EXACT_ROWS).T
        scores = np.hstack([scores, block])
        positions = np.hstack([positions, np.broadcast_to(np.arange(start, start + block.shape[1]), block.shape)])
        best = np.argpartition(-scores, min(k, scores.shape[1]) - 1, axis=1)[:, :k]
        scores, positions = np.take_along_axis(scores, best, 1), np.take_along_axis(positions, best, 1)
    return [{log.id(position) for position in row} for row in positions.tolist()]


def apart(call: Callable[..., T], *arguments: Any) -> T:
    """Return what `call` returns in a new process.

    Raises:
        CbirError: It raised that, or the process died.
    """
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(sender, call, arguments), daemon=True)
    child.start()
    sender.close()
    try:
        answer = receiver.recv()
    except EOFError:
        child.join()
        raise CbirError(
            f"the process for {arguments[0]} ended with code {child.exitcode}; memory or disk may have run out"
        ) from None
    finally:
        child.kill()
        child.join()
    if isinstance(answer, CbirError):
        raise answer
    return answer  # type: ignore[no-any-return]


def _child(sender: Connection, call: Callable[..., object], arguments: Sequence[Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it and ends this process
    try:
        sender.send(call(*arguments))
    except CbirError as error:
        sender.send(error)
