"""A store of cbir as a candidate: the same work as other libraries do, through its writer and the store protocol."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cbir
from cbir.pipeline.writers import open_targets, publish_all
from cbir.progress import silent
from cbir.records import Item, Point, Vector, digest, full_payload, point_id
from cbir.settings import Settings
from cbir.stores.base import Contents, SearchParams
from cbir.stores.engines import ENGINES
from cbir.stores.registry import connect
from cbir.stores.url import split

from .library import Hits, Job, Library

_BATCH = 1000


class _OwnStore:
    """A collection in one engine, in the folder of the job, with the points of the measured one in `job["position"]`.

    An added point has a payload, but no fields of a data set.
    """

    def __init__(self, job: Job):
        self._job, self._params = job, SearchParams()
        self._collection = cbir.open(job["target"], job["collection"], settings=Settings())
        self._position = dict(job["position"])

    @staticmethod
    def build(vectors: Vector, job: Job) -> None:
        """Build the index with the payloads and thumbnails of the points, which are read meanwhile."""
        points = (point for point in _contents(job).points() if point.id in job["position"])
        _write(job, iter(lambda: list(islice(points, _BATCH)), []))

    def use(self, ef: int | None) -> None:
        self._params = SearchParams(ef)

    def search(self, vectors: Vector, k: int) -> Hits:
        found = self._collection.store.search(vectors, k, params=self._params)
        read = [[(hit.id, hit.payload) for hit in hits] for hits in found]  # from the disk now, and not before
        return [[self._position[id_] for id_, _ in hits] for hits in read]

    def add(self, vectors: Vector) -> None:
        start = len(self._position)
        points = [_point(str(start + number), vector) for number, vector in enumerate(vectors)]
        self._position |= {point.id: start + number for number, point in enumerate(points)}
        _write(self._job, [points])


def _prepare(job: Job) -> None:
    """Import the engine, and read the position of each id."""
    ENGINES[split(job["target"])[0]].load()
    ids = json.loads(Path(job["data"], "ids.json").read_text())
    job["position"] = {id_: position for position, id_ in enumerate(ids)}


def _contents(job: Job) -> Contents:
    return connect(job["url"], Settings()).contents(job["collection"])


def _write(job: Job, batches: Iterable[Sequence[Point]]) -> None:
    """Store points so that they are durable, and publish them."""
    contents, settings = _contents(job), Settings()
    plan, catalog = replace(contents.plan, base=None, engines={}), connect(job["target"], settings)
    with open_targets([catalog], plan, contents.model or Path(), settings.max_image_megapixels) as (target,):
        for points in batches:
            target.write(points, [])
        target.flush()
        publish_all([target], silent)


def _point(key: str, vector: Vector) -> Point:
    payload = full_payload(Item(key, bytes), f"{int(key):064x}")
    return Point(point_id("added", key), vector, payload, "", b"", digest(payload))


LIBRARIES = {
    "cbir": Library(
        _OwnStore.build, _OwnStore, "cbir", "through the store protocol, with ids and payloads", (), prepare=_prepare
    )
}
