"""The time of changes: by a command, by the API, many in a row, and while others search."""

import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Annotated

from cbir.collection import Collection
from cbir.errors import CbirError
from cbir.records import Vector
from cbir.tables import Column, Range

from ..core.synthetic import clustered
from ..core.timing import spread
from .made_up import PART, Images, new_images, write_files
from .workplace import Spent, Workplace

DELETED_PARTS = 10
_ENDS = 5
_IDLE_SECONDS = 3.0


@dataclass(frozen=True)
class Change:
    """A change of a collection, and what a full rebuild takes; `ratio` is the time by that.

    `core_seconds` is the processor time of the process that makes the change, without those that build engines.
    """

    name: str
    seconds: Annotated[Range, Column("time", "s", ".3g", better="lower")]
    core_seconds: Annotated[Range, Column("processor", "s", ".3g", better="lower")]
    rebuild: Annotated[float, Column("full rebuild", "s", ".3g")]
    ratio: Annotated[float, Column("time / rebuild", format=".3f")]


@dataclass(frozen=True)
class Commits:
    """Many additions in a row, in seconds; `first` and `last` are the medians of a few; `ratio` is last / first."""

    name: str
    first: Annotated[float, Column("first", "s", ".3g", better="lower")]
    median: Annotated[float, Column("median", "s", ".3g", better="lower")]
    last: Annotated[float, Column("last", "s", ".3g", better="lower")]
    longest: Annotated[float, Column("longest", "s", ".3g", better="lower")]
    ratio: Annotated[float, Column("last / first", format=".2f")]


@dataclass(frozen=True)
class Pause:
    """The single searches of a thread before and while another thread adds images."""

    name: str
    before_ms: Annotated[float, Column("median before", "ms", ".3g")]
    longest_before_ms: Annotated[float, Column("longest before", "ms", ".3g")]
    during_ms: Annotated[float, Column("median meanwhile", "ms", ".3g")]
    longest_ms: Annotated[float, Column("longest meanwhile", "ms", ".3g", better="lower")]


def by_command(place: Workplace, images: int, repeats: int) -> list[Change]:
    """Return what commands take that add images, change the payload of some points and delete some."""
    folder = write_files(place.folder / f"new{images}", new_images(images, 0))
    deleted = DELETED_PARTS * PART
    commands: dict[str, Sequence[object]] = {
        f"cbir-ingest add: {images:,} images": ("add", folder, "--model", place.model, "--dataset", "growth"),
        f"cbir-ingest update: {PART:,} points": ("update", "seen=true", "--filter", "part=3"),
        f"cbir-ingest delete: {deleted:,} points": ("delete", "--yes", "--filter", f"part<{DELETED_PARTS}"),
    }
    found = []
    for name, words in commands.items():
        spent = []
        for _ in range(repeats):
            root = place.copy()
            spent.append(place.command(root, *words))
            shutil.rmtree(root)
        found.append(_change(place, name, spent))
    return found


def by_api(place: Workplace, images: int, repeats: int) -> list[Change]:
    """Return what `Collection.add` takes with a search that finds one of the images."""
    root = place.copy()
    with place.open(root) as photos:
        photos.search(clustered(1, photos.info.model.dimension, 0)[0])
        spent = [add_and_find(photos, new_images(images, seed)) for seed in range(1, 1 + repeats)]
    shutil.rmtree(root)
    return [_change(place, f"photos.add and search: {images:,} images", spent)]


def add_and_find(photos: Collection, images: Images) -> Spent:
    """Add images, search for the last one, and return the time; `CbirError` unless it is the best hit."""
    start, core = time.perf_counter(), time.process_time()
    photos.add(images.files, keys=images.keys, payloads=images.payloads)
    hits = photos.search(images.files[-1], limit=1)
    spent = Spent(time.perf_counter() - start, time.process_time() - core)
    if [hit.key for hit in hits] != images.keys[-1:]:
        raise CbirError(f"{images.keys[-1]} was added, but a search for it finds {[hit.key for hit in hits]}")
    return spent


def in_a_row(photos: Collection, place: Workplace, images: int, commits: int) -> Commits:
    """Add images again and again, and return how long it takes."""
    times = [add_and_find(photos, new_images(images, 10_000 + number)).seconds for number in range(commits)]
    ends = max(1, min(_ENDS, commits // 2))
    first, last = median(times[:ends]), median(times[-ends:])
    name = f"{place.size}, {commits:,} commits of {images:,} images"
    return Commits(name, first, median(times), last, max(times), last / first)


def longest_pause(place: Workplace, images: int, repeats: int) -> Pause:
    """Return how long single searches take in one thread while another adds images."""
    root = place.copy()
    with place.open(root) as photos:
        vectors = clustered(100, photos.info.model.dimension, 0)
        searches: list[tuple[float, float]] = []
        stopping = threading.Event()
        client = threading.Thread(target=_search_all_the_time, args=(photos, vectors, searches, stopping))
        client.start()
        try:
            time.sleep(_IDLE_SECONDS)
            began = time.perf_counter()
            for seed in range(1, 1 + repeats):
                add_and_find(photos, new_images(images, seed))
        finally:
            stopping.set()
            client.join()
    shutil.rmtree(root)
    before = [spent for start, spent in searches if start + spent / 1000 < began]
    during = [spent for start, spent in searches if start + spent / 1000 >= began]
    name = f"{place.size}, {repeats:,} additions of {images:,} images"
    return Pause(name, median(before), max(before), median(during), max(during))


def _search_all_the_time(
    photos: Collection, vectors: Vector, searches: list[tuple[float, float]], stopping: threading.Event
) -> None:
    while not stopping.is_set():
        for vector in vectors:
            start = time.perf_counter()
            photos.search(vector)
            searches.append((start, 1000 * (time.perf_counter() - start)))
            if stopping.is_set():
                return


def _change(place: Workplace, name: str, spent: Sequence[Spent]) -> Change:
    seconds, core = (spread(values) for values in zip(*spent, strict=True))
    rebuild = place.rebuild.seconds
    return Change(f"{place.size}, {name}", seconds, core, rebuild, seconds.value / rebuild)
