"""Searching while an ingest runs: client threads on a copy of the collection, and the real command line that fills it.

The ingest is another process; it publishes a new generation, and the clients take that up as the page does.
"""

import shlex
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cbir.errors import CbirError, UsageError
from cbir.index.generation import BUILDING, MARKER, MODEL, POINTER
from cbir.records import Hit, Vector
from cbir.settings import Settings
from cbir.stores.base import Location, StoreInfo, locate, open_store, parse, served_generation

from ..core.measured_process import run_child
from ..core.workload import Subject
from .measure import Times, times

IDLE, EMBEDDING, BUILDING_INDEXES, AFTER = "idle", "embedding", "building and publishing", "after"
PHASES = (IDLE, EMBEDDING, BUILDING_INDEXES, AFTER)
MEANWHILE = (EMBEDDING, BUILDING_INDEXES)
IDLE_SECONDS = 10.0
_TURN_SECONDS = 0.25
_LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Phase:
    """Searches that began in one phase; the times are None where there were none.

    Attributes:
        name: One of `PHASES`.
        seconds: How long it took.
        searches: How many were answered.
        search_ms: Of a single search.
        ratio: Its p95 by the idle one.
    """

    name: str
    seconds: float
    searches: int
    search_ms: Times | None
    ratio: float | None


@dataclass(frozen=True)
class Served:
    """One store's searches before, during and after the ingest.

    Attributes:
        store: Its URL.
        errors: What failed, or was no whole answer.
        phases: Searches by phase.
        ratio: p95 of the searches while the ingest ran, by the idle one.
        generations: Those that answered, in order.
        taken_up_ms: From the moment the new one was published to the first answer from it.
    """

    store: str
    errors: list[str]
    phases: list[Phase]
    ratio: float | None
    generations: list[str]
    taken_up_ms: float | None


@dataclass(frozen=True)
class Beside:
    """One ingest and the stores of its index folder.

    Attributes:
        command: What ran, behind `cbir-ingest`.
        threads: Clients.
        points: In the collection before.
        stored: Images that the ingest added or replaced.
        stores: What became of the searches.
    """

    command: list[str]
    threads: int
    points: int
    stored: int
    stores: list[Served]


@dataclass
class _Search:
    phase: str
    began: float
    milliseconds: float
    generation: str
    error: str


@dataclass
class _Live:
    """A store that goes on with the newest generation; what is searched with the old one ends there."""

    url: str
    collection: str
    settings: Settings
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.store = open_store(self.url, self.collection, self.settings)

    def search(self, vectors: Vector, k: int) -> tuple[str, list[list[Hit]]]:
        """Return the generation that answers, and the hits."""
        if self._is_old():
            with self.lock:
                if self._is_old():
                    self.store = open_store(self.url, self.collection, self.settings)
        store = self.store
        return store.info.generation, store.search(vectors, k)

    def _is_old(self) -> bool:
        return served_generation(self.url, self.collection) != self.store.info.generation


class _Clients:
    """Threads that search all the time; the stores take turns of a moment."""

    def __init__(self, stores: Sequence[_Live], vectors: Vector, k: int):
        self.phase = IDLE
        self.found: list[list[_Search]] = [[] for _ in stores]
        self._stores, self._vectors, self._k = stores, vectors, k
        self._stop = threading.Event()

    @contextmanager
    def running(self, threads: int) -> Iterator[None]:
        """Search in so many threads until the block ends."""
        with ThreadPoolExecutor(threads) as pool:
            clients = [pool.submit(self._search, self._vectors[at::threads]) for at in range(threads)]
            try:
                yield
            finally:
                self._stop.set()
        for client in clients:
            client.result()

    def _search(self, vectors: Vector) -> None:
        while not self._stop.is_set():
            for vector in vectors:
                if self._stop.is_set():
                    return
                at = int(time.monotonic() / _TURN_SECONDS) % len(self._stores)
                self.found[at].append(self._one(self._stores[at], vector))

    def _one(self, store: _Live, vector: Vector) -> _Search:
        phase, began, start = self.phase, time.monotonic(), time.perf_counter()
        generation = error = ""
        try:
            generation, (hits,) = store.search(vector[None], self._k)
            if len(hits) < self._k:
                error = f"{len(hits)} hits, not {self._k}"
        except CbirError as failure:
            error = str(failure)
        return _Search(phase, began, (time.perf_counter() - start) * 1000, generation, error)


def measure(subject: Subject, arguments: str, threads: int, settings: Settings) -> list[Beside]:
    """Ingest into a copy of each index folder of the stores while their copies are searched.

    Args:
        subject: The collection, its embedded stores and the queries.
        arguments: The source and what else `cbir-ingest add` is to be told.
        threads: Clients.
        settings: To open the stores with.

    Raises:
        UsageError: None of the stores is embedded.
        CbirError: The ingest failed, or published nothing.
    """
    infos = [info for info in subject.infos if parse(info.url).embedded]
    if not infos:
        raise UsageError(
            "--beside needs an embedded store (edge:PATH, faiss:PATH): a copy of it is searched and filled"
        )
    roots = {info.url: locate([parse(info.url)])[0] for info in infos}
    found = []
    for root in dict.fromkeys(place.root for place in roots.values()):
        mine = [info for info in infos if roots[info.url].root == root]
        with tempfile.TemporaryDirectory(prefix="cbir-bench-") as folder:
            found.append(_measure(subject, mine, Path(folder), shlex.split(arguments), threads, settings))
    return found


def _measure(
    subject: Subject,
    infos: Sequence[StoreInfo],
    folder: Path,
    arguments: Sequence[str],
    threads: int,
    settings: Settings,
) -> Beside:
    info = infos[0]
    places = [locate([parse(one.url)])[0] for one in infos]
    _copy(places[0].root, folder, info)
    urls = [_url(place, folder) for place in places]
    collection = folder / info.collection
    named = {place.name: url for place, url in zip(places, urls, strict=True)}
    command = ["add", *arguments, "--collection", info.collection, "--dataset", info.dataset]
    command += ["--model", str(collection / info.generation / MODEL)]
    command += [part for url in named.values() for part in ("--store", url)]
    clients = _Clients([_Live(url, info.collection, settings) for url in urls], subject.vectors, subject.k)
    began: dict[str, float] = {IDLE: time.monotonic()}
    ended = threading.Event()

    def look() -> None:
        """Note when indexes are built instead of vectors made, and when the new generation is served."""
        phase = clients.phase
        if served_generation(urls[0], info.collection) != info.generation:
            phase = AFTER
        elif any((collection / BUILDING / name).exists() for name in named):
            phase = BUILDING_INDEXES
        if phase != clients.phase:
            late = time.time() - (collection / POINTER).stat().st_mtime if phase == AFTER else 0.0
            clients.phase, began[phase] = phase, time.monotonic() - late

    def watch() -> None:
        while not ended.wait(_LOOK_SECONDS):
            look()

    with clients.running(threads):
        time.sleep(IDLE_SECONDS)
        clients.phase, began[EMBEDDING] = EMBEDDING, time.monotonic()
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            child = run_child("the ingest", [sys.executable, "-m", "cbir.ingest.command", *command, "--json"])
        finally:
            ended.set()
            watcher.join()
        look()
        if AFTER not in began:
            raise CbirError(
                "the ingest published nothing; name a --beside SOURCE that the collection does not have yet"
            )
        time.sleep(IDLE_SECONDS)
    ends = [*began.values(), time.monotonic()][1:]
    seconds = dict(zip(began, (end - start for start, end in zip(began.values(), ends, strict=True)), strict=True))
    return Beside(
        command=command,
        threads=threads,
        points=info.count,
        stored=int(child.printed["stored"]),
        stores=[
            _served(one.url, searches, seconds, began[AFTER])
            for one, searches in zip(infos, clients.found, strict=True)
        ],
    )


def _served(url: str, searches: Sequence[_Search], seconds: dict[str, float], published: float) -> Served:
    good = sorted((one for one in searches if not one.error), key=lambda one: one.began)
    by_phase = {name: [one.milliseconds for one in good if one.phase == name] for name in seconds}
    idle = times(by_phase[IDLE]) if by_phase[IDLE] else None
    meanwhile = [one for name in MEANWHILE for one in by_phase.get(name, [])]

    def ratio(milliseconds: Sequence[float]) -> float | None:
        return float(np.percentile(milliseconds, 95)) / idle.p95 if idle and milliseconds else None

    generations = list(dict.fromkeys(one.generation for one in good))
    first = next((one for one in good if one.generation != generations[0]), None)
    return Served(
        store=url,
        errors=[one.error for one in searches if one.error],
        phases=[
            Phase(
                name,
                spent,
                len(by_phase[name]),
                times(by_phase[name]) if by_phase[name] else None,
                ratio(by_phase[name]),
            )
            for name, spent in seconds.items()
        ],
        ratio=ratio(meanwhile),
        generations=generations,
        taken_up_ms=(first.began - published) * 1000 + first.milliseconds if first else None,
    )


def _copy(root: Path, folder: Path, info: StoreInfo) -> None:
    """Copy what is published of a collection, and nothing that belongs to who reads or fills it."""
    shutil.copy2(root / MARKER, folder)
    shutil.copytree(root / info.collection / info.generation, folder / info.collection / info.generation)
    shutil.copy2(root / info.collection / POINTER, folder / info.collection)


def _url(place: Location, folder: Path) -> str:
    """Return the URL of a store's copy, with the options of its own."""
    path, options = folder / place.name, place.url.text.partition("?")[2]
    return f"{place.url.kind}:{path}" + (f"?{options}" if options else "")
