"""Searches while an ingest runs: client threads on a copy of the collection, and the command line that fills it."""

import itertools
import shlex
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

from cbir.errors import CbirError, UsageError
from cbir.index import layout
from cbir.index.names import MARKER
from cbir.records import Vector
from cbir.settings import Settings
from cbir.stores.handle import StoreHandle
from cbir.stores.registry import connect
from cbir.tables import Column

from ..core.measured_process import run_process
from ..core.rows import time_columns
from ..core.stores import copied_url, location_of
from ..core.timing import Times, times
from ..core.workload import Workload

IDLE, DURING, AFTER = "before", "during the ingest", "after"
IDLE_SECONDS = 10.0
_TURN_SECONDS = 0.25


@dataclass(frozen=True)
class Phase:
    """One store's searches in one phase; `ratio` is their p95 by that of the phase before the ingest."""

    name: str
    seconds: Annotated[float, Column("time", "s", ".1f")]
    searches: Annotated[int, Column("searches", format=",d")]
    search_ms: Annotated[Times | None, time_columns("median", "p95", "p99")]
    ratio: Annotated[float | None, Column("p95 / before", format=".2f")]


@dataclass(frozen=True)
class SearchedStore:
    """One store before, during and after the ingest; `taken_up_ms` from publishing to the first answer from that."""

    store: str
    errors: list[str]
    phases: list[Phase]
    taken_up_ms: float | None


@dataclass(frozen=True)
class IngestRun:
    """An ingest of `stored` images by `cbir-ingest` into a copy of one index folder."""

    stored: int
    stores: list[SearchedStore]


class _Search(NamedTuple):
    began: float
    milliseconds: float
    generation: str
    error: str


@contextmanager
def searching(stores: Sequence[StoreHandle], vectors: Vector, k: int, threads: int) -> Iterator[list[list[_Search]]]:
    """Search in some threads until the block ends, the stores by turns; yield the searches of each so far."""
    found: list[list[_Search]] = [[] for _ in stores]
    stopping = threading.Event()

    def client(vectors: Vector) -> None:
        for vector in itertools.cycle(vectors):
            if stopping.is_set():
                return
            index = int(time.time() / _TURN_SECONDS) % len(stores)
            found[index].append(_search(stores[index], vector, k))

    with ThreadPoolExecutor(threads) as pool:
        clients = [pool.submit(client, vectors[number::threads]) for number in range(threads)]
        try:
            yield found
        finally:
            stopping.set()
    for future in clients:
        future.result()


def _search(handle: StoreHandle, vector: Vector, k: int) -> _Search:
    began, start = time.time(), time.perf_counter()
    generation = error = ""
    try:
        store = handle.get()
        generation, (hits,) = store.info.version, store.search(vector[None], k)
        if len(hits) < k:
            error = f"{len(hits)} hits, not {k}"
    except CbirError as failure:
        error = str(failure)
    return _Search(began, (time.perf_counter() - start) * 1000, generation, error)


def measure(workload: Workload, arguments: str, threads: int, settings: Settings) -> IngestRun:
    """Search copies of stores in one index folder in some threads while `cbir-ingest add ARGUMENTS` fills them."""
    locations = [location for info in workload.infos if (location := location_of(info.url))]
    if len({location.root for location in locations}) != 1:
        raise UsageError(
            "--search-during-ingest searches and fills a copy of one index folder. Name stores in one: edge:PATH or"
            " faiss:PATH."
        )
    info = next(info for info in workload.infos if info.url == locations[0].url.text)
    root, name = locations[0].root, info.collection
    with tempfile.TemporaryDirectory(prefix="cbir-bench-") as folder:
        collection = Path(folder) / name
        shutil.copytree(root / name / info.generation, collection / info.generation)  # what is published, and no more
        if (root / name / layout.TAIL).is_dir():
            shutil.copytree(root / name / layout.TAIL, collection / layout.TAIL)
        shutil.copy2(root / name / layout.POINTER, collection)
        shutil.copy2(root / MARKER, folder)
        urls = [copied_url(location, Path(folder)) for location in locations]
        command = ["add", *shlex.split(arguments), "--collection", name, "--dataset", info.dataset]
        command += ["--model", str(collection / info.generation / layout.MODEL)]
        command += [part for url in urls for part in ("--store", url)]
        stores = [StoreHandle(connect(url, settings), name) for url in urls]
        times_of_phases = [time.time()]
        with searching(stores, workload.vectors, workload.k, threads) as searches:
            time.sleep(IDLE_SECONDS)
            times_of_phases.append(time.time())
            process = run_process("the ingest", [sys.executable, "-m", "cbir.ingest.command", *command, "--json"])
            times_of_phases.append((collection / layout.POINTER).stat().st_mtime)
            if times_of_phases[2] < times_of_phases[1]:
                raise CbirError(
                    "The ingest published nothing. Name a --search-during-ingest SOURCE that the collection does not"
                    " hold yet."
                )
            time.sleep(IDLE_SECONDS)
        times_of_phases.append(time.time())
    found = [
        by_phase(location.url.text, searches_of_store, times_of_phases)
        for location, searches_of_store in zip(locations, searches, strict=True)
    ]
    return IngestRun(int(process.printed["stored"]), found)


def by_phase(url: str, searches: Sequence[_Search], times_of_phases: Sequence[float]) -> SearchedStore:
    """Return a store's searches by phase; the phases follow each other and end at the last time."""
    answered = sorted(search for search in searches if not search.error)
    phases: list[Phase] = []
    for name, (start, stop) in zip((IDLE, DURING, AFTER), itertools.pairwise(times_of_phases), strict=True):
        spent = [search.milliseconds for search in answered if start <= search.began < stop]
        summary = times(spent) if spent else None
        idle = phases[0].search_ms if phases else summary
        ratio = summary.p95 / idle.p95 if summary and idle else None
        phases.append(Phase(name, stop - start, len(spent), summary, ratio))
    first = next((search for search in answered if search.generation != answered[0].generation), None)
    taken_up_ms = (first.began - times_of_phases[2]) * 1000 + first.milliseconds if first else None
    return SearchedStore(url, [search.error for search in searches if search.error], phases, taken_up_ms)
