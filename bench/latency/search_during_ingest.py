"""Searches while an ingest runs: client threads on a copy of the collection, and the real command line that fills it.

The ingest is another process. It publishes a new generation, and the clients take that up as the page does.
"""

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

from cbir.errors import CbirError, UsageError
from cbir.index import layout
from cbir.index.names import MARKER
from cbir.records import Vector
from cbir.settings import Settings
from cbir.stores.handle import StoreHandle
from cbir.stores.registry import connect
from cbir.stores.url import Location

from ..core.measured_process import run_process
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
    seconds: float
    searches: int
    search_ms: Times | None
    ratio: float | None


@dataclass(frozen=True)
class SearchedStore:
    """One store before, during and after the ingest, which ends when the new generation is published.

    Attributes:
        taken_up_ms: From the moment the new generation was published to the first answer from it.
    """

    store: str
    errors: list[str]
    phases: list[Phase]
    taken_up_ms: float | None


@dataclass(frozen=True)
class IngestRun:
    """An ingest into a copy of one index folder.

    Attributes:
        command: The words behind `cbir-ingest`.
        threads: Of the clients.
        points: In the collection before.
        stored: Images that were stored.
    """

    command: list[str]
    threads: int
    points: int
    stored: int
    stores: list[SearchedStore]


@dataclass
class _Search:
    began: float
    milliseconds: float
    generation: str
    error: str


class _Clients:
    """Threads that search all the time. The stores take turns of a moment."""

    def __init__(self, stores: Sequence[StoreHandle], vectors: Vector, k: int):
        self.searches: list[list[_Search]] = [[] for _ in stores]
        self._stores, self._vectors, self._k = stores, vectors, k
        self._stop = threading.Event()

    @contextmanager
    def running(self, threads: int) -> Iterator[None]:
        """Search in some threads until the block ends."""
        with ThreadPoolExecutor(threads) as pool:
            clients = [pool.submit(self._run, self._vectors[number::threads]) for number in range(threads)]
            try:
                yield
            finally:
                self._stop.set()
        for client in clients:
            client.result()

    def _run(self, vectors: Vector) -> None:
        for vector in itertools.cycle(vectors):
            if self._stop.is_set():
                return
            index = int(time.time() / _TURN_SECONDS) % len(self._stores)
            self.searches[index].append(self._search(self._stores[index], vector))

    def _search(self, handle: StoreHandle, vector: Vector) -> _Search:
        began, start = time.time(), time.perf_counter()
        generation = error = ""
        try:
            store = handle.get()
            generation, (hits,) = store.info.generation, store.search(vector[None], self._k)
            if len(hits) < self._k:
                error = f"{len(hits)} hits, not {self._k}"
        except CbirError as failure:
            error = str(failure)
        return _Search(began, (time.perf_counter() - start) * 1000, generation, error)


def measure(workload: Workload, arguments: str, threads: int, settings: Settings) -> list[IngestRun]:
    """Search copies of the stores in some threads while images are ingested into these, one index folder at a time.

    `arguments` are the source and further options of `cbir-ingest add`.
    """
    folders: dict[Path, list[Location]] = {}
    for location in filter(None, (location_of(info.url) for info in workload.infos)):
        folders.setdefault(location.root, []).append(location)
    if not folders:
        raise UsageError(
            "--search-during-ingest searches and fills a copy of an embedded store. Name one: edge:PATH or faiss:PATH."
        )
    runs = []
    for locations in folders.values():
        with tempfile.TemporaryDirectory(prefix="cbir-bench-") as folder:
            runs.append(_measure(workload, locations, Path(folder), shlex.split(arguments), threads, settings))
    return runs


def _measure(
    workload: Workload,
    locations: Sequence[Location],
    folder: Path,
    arguments: Sequence[str],
    threads: int,
    settings: Settings,
) -> IngestRun:
    info = next(info for info in workload.infos if info.url == locations[0].url.text)
    root, name = locations[0].root, info.collection
    collection = folder / name
    shutil.copytree(root / name / info.generation, collection / info.generation)  # what is published, and no more
    shutil.copy2(root / name / layout.POINTER, collection)
    shutil.copy2(root / MARKER, folder)
    urls = [copied_url(location, folder) for location in locations]
    command = ["add", *arguments, "--collection", name, "--dataset", info.dataset]
    command += ["--model", str(collection / info.generation / layout.MODEL)]
    command += [part for url in urls for part in ("--store", url)]
    clients = _Clients([StoreHandle(connect(url, settings), name) for url in urls], workload.vectors, workload.k)
    began = [time.time()]
    with clients.running(threads):
        time.sleep(IDLE_SECONDS)
        began.append(time.time())
        process = run_process("the ingest", [sys.executable, "-m", "cbir.ingest.command", *command, "--json"])
        began.append((collection / layout.POINTER).stat().st_mtime)
        if began[2] < began[1]:
            raise CbirError(
                "The ingest published nothing. Name a --search-during-ingest SOURCE that the collection does not hold"
                " yet."
            )
        time.sleep(IDLE_SECONDS)
    stores = [
        _searched(location.url.text, searches, [*began, time.time()])
        for location, searches in zip(locations, clients.searches, strict=True)
    ]
    return IngestRun(command, threads, info.count, int(process.printed["stored"]), stores)


def _searched(url: str, searches: Sequence[_Search], times_of_phases: Sequence[float]) -> SearchedStore:
    """Return a store's searches by phase; the phases follow each other and end at the last time."""
    answered = sorted((search for search in searches if not search.error), key=lambda search: search.began)
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
