"""A collection that has grown by many changes, compared with a fresh build of the same points."""

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np

from cbir.collection import Collection
from cbir.records import Vector
from cbir.tables import Column, Range

from ..core.disk import disk_bytes
from ..core.ranking import recall
from ..core.synthetic import clustered
from ..core.timing import spread, timed
from .made_up import COLLECTION, PART, new_images
from .workplace import Workplace, name_of

K = 10
_ROUNDS = 3
_ADDED, _DELETED = 0.05, 0.01
_CHANGES, _MOST_AT_ONCE = 20, 50


@dataclass(frozen=True)
class Grown:
    """Searches in one store of a grown collection and of a fresh build, and the space of all stores together."""

    name: str
    search_ms: Annotated[Range, Column("search", "ms", ".3g", better="lower")]
    fresh_ms: Annotated[Range, Column("fresh", "ms", ".3g")]
    ratio: Annotated[float, Column("ratio", format=".2f")]
    recall: Annotated[float, Column(f"recall@{K}", format=".4f", better="higher", floor=True)]
    fresh_recall: Annotated[float, Column(f"fresh recall@{K}", format=".4f", floor=True)]
    megabytes: Annotated[float, Column("size", "MB", ",.0f", better="lower")]
    fresh_megabytes: Annotated[float, Column("fresh size", "MB", ",.0f")]


def add_and_delete(photos: Collection, points: int) -> str:
    """Add and delete a share of the points, and return what was done."""
    images = new_images(max(1, round(_ADDED * points)), 20_000)
    photos.add(images.files, keys=images.keys, payloads=images.payloads)
    photos.delete(ids=[str(number) for number in range(max(1, round(_DELETED * points)))])
    return f"{_ADDED:.0%} added, {_DELETED:.0%} deleted"


def change_at_random(photos: Collection, points: int) -> str:
    """Add, replace, update and delete some points at random, and return what was done."""
    rng = np.random.default_rng(0)
    parts = rng.permutation(points // PART)
    for number in range(_CHANGES):
        part, count = parts[number % len(parts)], int(rng.integers(1, _MOST_AT_ONCE))
        images = new_images(count, 30_000 + number)
        numbers = range(part * PART, part * PART + count)
        match number % 4:
            case 0:
                photos.add(images.files, keys=images.keys, payloads=images.payloads)
            case 1:
                photos.add(images.files, keys=[str(number) for number in numbers], payloads=images.payloads)
            case 2:
                photos.update({"season": "none"}, filter=f"part={part}")
            case 3:
                photos.delete(ids=[str(number) for number in numbers])
    return f"{_CHANGES} random changes"


def compared_with_fresh(place: Workplace, root: Path, what: str, queries: int) -> list[Grown]:
    """Copy the points of a collection into a new one, and compare the two store by store."""
    fresh = place.build_fresh(root)
    megabytes = [disk_bytes(folder / COLLECTION) / 1e6 for folder in (root, fresh)]
    found = []
    for grown_url, fresh_url in zip(place.urls(root), place.urls(fresh), strict=True):
        with place.open(root, grown_url) as grown, place.open(fresh, fresh_url) as built:
            vectors = clustered(queries, grown.info.model.dimension, 0)
            truth = _Truth(built, vectors)
            recalls = [truth.recall(photos) for photos in (grown, built)]
            rounds = [[_median_ms(photos, vectors) for photos in (grown, built)] for _ in range(_ROUNDS)]
        search, fresh_search = (spread(column) for column in zip(*rounds, strict=True))
        ratio = search.value / fresh_search.value
        found.append(Grown(f"{what}, {name_of(grown_url)}", search, fresh_search, ratio, *recalls, *megabytes))
    shutil.rmtree(fresh)
    return found


class _Truth:
    """The lowest score of each query's exact hits, and the keys of all images, in a fresh build."""

    def __init__(self, photos: Collection, vectors: Vector):
        self._vectors = vectors
        self._limits = [photos.search(vector, limit=K, exact=True)[-1].score for vector in vectors]
        self._keys = {image.key for image in photos.scroll()}

    def recall(self, photos: Collection) -> float:
        """Return the mean recall of a collection's searches. A hit that should have been deleted does not count."""
        found = [
            recall([hit.score for hit in photos.search(vector, limit=K) if hit.key in self._keys], limit, K)
            for vector, limit in zip(self._vectors, self._limits, strict=True)
        ]
        return float(np.mean(found))


def _median_ms(photos: Collection, vectors: Vector) -> float:
    return float(np.median([timed(partial(photos.search, vector, limit=K)) for vector in vectors]))
