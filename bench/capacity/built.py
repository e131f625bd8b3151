"""Indexes of a large number of made-up vectors, built, opened and searched: what a plan is checked with."""

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from cbir.errors import CbirError
from cbir.index.vector_log import VectorLog
from cbir.progress import Advance
from cbir.records import Vector
from cbir.stores.base import SearchParams
from cbir.stores.engines import EngineIndex
from cbir.tables import Column, Range

from ..core.disk import disk_bytes
from ..core.measured_process import run_process
from ..core.stores import EF_VALUES, engine_of
from ..core.synthetic import clustered
from ..core.timing import spread, timed
from .probe import write_log

K = 10
_QUERIES, _ROUNDS = 100, 5
_CHUNK = 50_000
_OWN_SEED = 10**9


@dataclass(frozen=True)
class BuiltIndex:
    """An index of so many made-up vectors; `missing` says why there is none.

    `ef` is the smallest ef or nprobe that reaches the wanted recall, or else the one that finds most. Minutes are those
    of the clock, and `core_minutes` those of processors.
    """

    name: str
    points: int
    missing: str = ""
    build_minutes: Annotated[float | None, Column("build", "min", ".3g")] = None
    core_minutes: Annotated[float | None, Column("build", "core-min", ".3g")] = None
    build_gigabytes: Annotated[float | None, Column("RAM to build", "GB", ".3g")] = None
    gigabytes: Annotated[float | None, Column("files", "GB", ".3g")] = None
    open_seconds: Annotated[float | None, Column("open", "s", ".3g")] = None
    ef: Annotated[int | None, Column("ef or nprobe", format="d")] = None
    recall: Annotated[float | None, Column(f"recall@{K}", format=".4f", floor=True)] = None
    search_ms: Annotated[Range | None, Column("search", "ms", ".3g", better="lower")] = None


@dataclass(frozen=True)
class BuiltLog:
    """The vector log that the indexes were built from."""

    points: int
    minutes: Annotated[float, Column("write", "min", ".3g")]
    gigabytes: Annotated[float, Column("log", "GB", ".3g")]
    open_seconds: Annotated[float, Column("open", "s", ".3g")]


def measure_built(
    urls: Sequence[str], count: int, dimension: int, recall: float, minutes: float, advance: Advance
) -> tuple[BuiltLog, list[BuiltIndex]]:
    """Build the index of each URL in a process of its own, for at most some minutes, and search all by turns."""
    found: list[BuiltIndex] = []
    with tempfile.TemporaryDirectory(prefix="cbir-plan-") as root, ExitStack() as stack:
        started = time.perf_counter()
        log = write_log(Path(root) / "log", count, dimension)
        written = (time.perf_counter() - started) / 60
        opened = timed(lambda: VectorLog(Path(root) / "log", dimension)) / 1000
        advance(1)
        queries = clustered(_QUERIES, dimension, _OWN_SEED)
        search = _Searches(queries, _nearest(log, queries), recall)
        for number, url in enumerate(urls):
            folder = Path(root) / "made" / str(number)
            name, module, options = engine_of(url, dimension)
            try:
                built = _build(url, folder, Path(root) / "log", dimension, minutes)
            except CbirError as error:
                found.append(BuiltIndex(name, count, missing=str(error)))
            else:
                started = time.perf_counter()
                index = module.open_index(folder, log, options)
                open_seconds = time.perf_counter() - started
                stack.callback(index.close)
                found.append(
                    BuiltIndex(name, count, "", **built, open_seconds=open_seconds, **search.add(number, index))
                )
            advance(1)
        times = search.times()
        built_log = BuiltLog(count, written, disk_bytes(Path(root) / "log") / 1e9, opened)
        return built_log, [
            row if row.missing else replace(row, search_ms=times[number]) for number, row in enumerate(found)
        ]


class _Searches:
    """Queries with the positions of their nearest vectors, and the indexes that answer them."""

    def __init__(self, queries: Vector, nearest: list[set[int]], recall: float):
        self._queries, self._nearest, self._recall = queries, nearest, recall
        self._indexes: dict[int, tuple[EngineIndex, SearchParams]] = {}

    def add(self, number: int, index: EngineIndex) -> dict[str, Any]:
        """Find the smallest ef or nprobe that reaches the recall, and return both."""
        best: tuple[float, int | None] = (-1.0, None)
        for ef in [None] if index.access == "scan" else EF_VALUES[index.access]:
            best = max(best, (self._share(index, SearchParams(ef=ef)), ef), key=lambda found: found[0])
            if best[0] >= self._recall:
                break
        self._indexes[number] = index, SearchParams(ef=best[1])
        return {"ef": best[1], "recall": best[0]}

    def times(self) -> dict[int, Range]:
        """Return the median milliseconds of a search in each index, by its number: all of them take turns."""
        rounds: dict[int, list[float]] = {number: [] for number in self._indexes}
        for _ in range(_ROUNDS):
            for number, (index, params) in self._indexes.items():
                calls = [partial(index.search, query[None], K, params) for query in self._queries]
                rounds[number].append(float(np.median([timed(call) for call in calls])))
        return {number: spread(values) for number, values in rounds.items()}

    def _share(self, index: EngineIndex, params: SearchParams) -> float:
        """Return the mean share of the nearest vectors that are found."""
        pairs = zip(self._queries, self._nearest, strict=True)
        hits = [(set(index.search(query[None], K, params)[1][0].tolist()), near) for query, near in pairs]
        return float(np.mean([len(found & near) / K for found, near in hits]))


def _nearest(log: VectorLog, queries: Vector) -> list[set[int]]:
    """Return the positions of the nearest vectors of each query."""
    scores, positions = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    for start in range(0, len(log), _CHUNK):
        more = queries @ log.vectors(start, start + _CHUNK).T
        best = np.argpartition(-more, min(K, more.shape[1]) - 1, axis=1)[:, :K]
        positions = np.hstack([positions, best + start])
        scores = np.hstack([scores, np.take_along_axis(more, best, axis=1)])
    best = np.argsort(-scores, axis=1)[:, :K]
    return [set(row) for row in np.take_along_axis(positions, best, axis=1).tolist()]


def _build(url: str, folder: Path, log: Path, dimension: int, minutes: float) -> dict[str, Any]:
    """Build an index in a process, and return what it took."""
    job = json.dumps({"url": url, "folder": str(folder), "log": str(log), "dimension": dimension})
    done = run_process(f"building {url}", [sys.executable, "-m", __name__, job], limit=60 * minutes)
    return {
        "build_minutes": done.printed["seconds"] / 60,
        "core_minutes": done.printed["core_seconds"] / 60,
        "build_gigabytes": done.printed["peak"] / 1e9,
        "gigabytes": disk_bytes(folder) / 1e9,
    }


def _work(job: dict[str, Any]) -> dict[str, float]:
    """Build an index in this process; return its seconds and its most memory in bytes."""
    from cbir.stores.embedded.build import peak_memory

    _, module, options = engine_of(job["url"], job["dimension"])
    log = VectorLog(Path(job["log"]), job["dimension"])
    started, core = time.perf_counter(), time.process_time()
    module.build(Path(job["folder"]), log, options, lambda count: None)
    spent = {"seconds": time.perf_counter() - started, "core_seconds": time.process_time() - core}
    return {**spent, "peak": float(peak_memory())}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_work(json.loads(sys.argv[1]))) + "\n")
