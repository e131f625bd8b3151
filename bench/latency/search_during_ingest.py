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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

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
from ..core.timing import times
from ..core.workload import Workload

IDLE, EMBEDDING, BUILDING_INDEXES, AFTER = "idle", "embedding", "building and publishing", "after"
PHASES = (IDLE, EMBEDDING, BUILDING_INDEXES, AFTER)
MEANWHILE = (EMBEDDING, BUILDING_INDEXES)
IDLE_SECONDS = 10.0
_TURN_SECONDS = 0.25
_LOOK_SECONDS = 0.02


@dataclass
class _Search:
    phase: str
    began: float
    milliseconds: float
    generation: str
    error: str


class _Clients:
    """Threads that search all the time; the stores take turns of a moment."""

    def __init__(self, stores: Sequence[StoreHandle], vectors: Vector, k: int):
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

    def _one(self, handle: StoreHandle, vector: Vector) -> _Search:
        phase, began, start = self.phase, time.monotonic(), time.perf_counter()
        generation = error = ""
        try:
            store = handle.get()
            generation, (hits,) = store.info.generation, store.search(vector[None], self._k)
            if len(hits) < self._k:
                error = f"{len(hits)} hits, not {self._k}"
        except CbirError as failure:
            error = str(failure)
        return _Search(phase, began, (time.perf_counter() - start) * 1000, generation, error)


def measure(workload: Workload, arguments: str, threads: int, settings: Settings) -> list[dict[str, Any]]:
    """Ingest into a copy of each index folder of the stores while their copies are searched by so many threads.

    Returns for each folder the command behind `cbir-ingest`, the points before, the images stored, and each store.

    `arguments` are the source and what else `cbir-ingest add` is to be told.
    """
    folders: dict[Path, list[Location]] = {}
    for location in filter(None, (location_of(info.url) for info in workload.infos)):
        folders.setdefault(location.root, []).append(location)
    if not folders:
        raise UsageError(
            "--beside needs an embedded store (edge:PATH, faiss:PATH): a copy of it is searched and filled"
        )
    found = []
    for locations in folders.values():
        with tempfile.TemporaryDirectory(prefix="cbir-bench-") as folder:
            found.append(_measure(workload, locations, Path(folder), shlex.split(arguments), threads, settings))
    return found


def _measure(
    workload: Workload,
    locations: Sequence[Location],
    folder: Path,
    arguments: Sequence[str],
    threads: int,
    settings: Settings,
) -> dict[str, Any]:
    info = next(one for one in workload.infos if one.url == locations[0].url.text)
    root = locations[0].root  # copied is what is published, and nothing that belongs to who reads or fills it
    shutil.copytree(root / info.collection / info.generation, folder / info.collection / info.generation)
    shutil.copy2(root / info.collection / layout.POINTER, folder / info.collection)
    shutil.copy2(root / MARKER, folder)
    urls = [copied_url(one, folder) for one in locations]
    collection = folder / info.collection
    command = ["add", *arguments, "--collection", info.collection, "--dataset", info.dataset]
    command += ["--model", str(collection / info.generation / layout.MODEL)]
    command += [part for url in urls for part in ("--store", url)]
    clients = _Clients(
        [StoreHandle(connect(url, settings), info.collection) for url in urls], workload.vectors, workload.k
    )
    began: dict[str, float] = {IDLE: time.monotonic()}
    ended = threading.Event()
    catalog = connect(urls[0], settings)
    before = catalog.version(info.collection)

    def look() -> None:
        """Note when indexes are built instead of vectors made, and when the new generation is served."""
        phase = clients.phase
        if catalog.version(info.collection) != before:
            phase = AFTER
        elif any((collection / layout.BUILDING / one.name).exists() for one in locations):
            phase = BUILDING_INDEXES
        if phase != clients.phase:
            late = time.time() - (collection / layout.POINTER).stat().st_mtime if phase == AFTER else 0.0
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
            child = run_process("the ingest", [sys.executable, "-m", "cbir.ingest.command", *command, "--json"])
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
    return {
        "command": command,
        "threads": threads,
        "points": info.count,
        "stored": int(child.printed["stored"]),
        "stores": [
            _served(one.url.text, searches, seconds, began[AFTER])
            for one, searches in zip(locations, clients.found, strict=True)
        ],
    }


def _served(url: str, searches: Sequence[_Search], seconds: dict[str, float], published: float) -> dict[str, Any]:
    """Return one store's searches before, during and after the ingest; ratios are of the p95 by the idle one.

    `taken_up_ms` is from the moment the new generation was published to the first answer from it.
    """
    good = sorted((one for one in searches if not one.error), key=lambda one: one.began)
    by_phase = {name: [one.milliseconds for one in good if one.phase == name] for name in seconds}

    def ratio(milliseconds: Sequence[float]) -> float | None:
        idle = by_phase[IDLE]
        return float(np.percentile(milliseconds, 95) / np.percentile(idle, 95)) if idle and milliseconds else None

    generations = list(dict.fromkeys(one.generation for one in good))
    first = next((one for one in good if one.generation != generations[0]), None)
    return {
        "store": url,
        "errors": [one.error for one in searches if one.error],
        "phases": [
            {
                "name": name,
                "seconds": seconds[name],
                "searches": len(spent),
                "search_ms": asdict(times(spent)) if spent else None,
                "ratio": ratio(spent),
            }
            for name, spent in by_phase.items()
        ],
        "ratio": ratio([one for name in MEANWHILE for one in by_phase.get(name, [])]),
        "generations": generations,
        "taken_up_ms": (first.began - published) * 1000 + first.milliseconds if first else None,
    }
