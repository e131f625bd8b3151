"""What is searched for: vectors that no index holds, because a graph finds a point that it holds by its own links."""

import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

import cbir
from cbir import terminal
from cbir.errors import UsageError
from cbir.evaluation.embeddings import embed_labelled
from cbir.evaluation.retrieval import neighbours
from cbir.models.embedder import load_embedder
from cbir.records import Vector
from cbir.settings import Settings
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source
from cbir.stores.base import StoreInfo

from .ranking import EPSILON

log = logging.getLogger(__name__)

_NEAR = 30
_BATCH = 64  # images that are embedded at once, at least
_DRAWN = 2  # points for a query, as some have nothing but copies near them
_ORIGIN = (
    f"made of stored points: the sum of two of the {_NEAR} nearest of a point, minus the point. On 36,906 product"
    " images their recall is within 0.003 of that of images that are not stored"
)


@dataclass(frozen=True)
class Queries:
    """Unit vectors (Q, D) that are not stored, with a name for each; `origin` says in a report where they are from."""

    names: list[str]
    vectors: Vector
    origin: str


def near_points(ids: Sequence[str], vectors: Vector, count: int, seed: int) -> Queries:
    """Return queries like images that are not stored: the sum of two of the nearest of a stored point, minus the point.

    They have the ids of the points as names. With 36,906 images, the recall of a graph is within 0.003 of that of
    images that it does not hold, at every ef from 11 to 128. That of stored images is up to 0.05 too high.
    """
    rng = np.random.default_rng(seed)
    rows = np.argsort(ids)[rng.integers(0, len(ids), _DRAWN * count)]  # by id, whatever the order of the store is
    chosen: list[int] = []
    found: list[Vector] = []
    for row, near in zip(rows.tolist(), neighbours(vectors[rows], vectors, min(_NEAR + 1, len(ids))), strict=True):
        others = near[vectors[near] @ vectors[row] < 1 - EPSILON]  # without the point and its copies
        if len(others) > 1 and len(chosen) < count:
            first, second = rng.permutation(others)[:2]
            moved = vectors[first] + vectors[second] - vectors[row]
            chosen.append(row)
            found.append(moved / np.linalg.norm(moved))
    if not chosen:
        raise UsageError("The points are copies of each other, so there are no queries. Name a --query-source.")
    return Queries([ids[row] for row in chosen], np.array(found, np.float32), _ORIGIN)


def from_source(text: str, info: StoreInfo, vectors: Vector, count: int, seed: int, settings: Settings) -> Queries:
    """Return up to `count` random images of a source as queries, without those whose vector is among `vectors`."""
    source = open_source(text, SourceOptions())
    items = list(source.items)
    order = np.random.default_rng(seed).permutation(len(items)).tolist()
    with closing(cbir.open(info.url, info.collection, settings=settings)) as photos:
        embedder = load_embedder(photos.embedder.path, settings, threads=1)
    names: list[str] = []
    found: list[Vector] = []
    while order and len(names) < count:
        chosen = [items[order.pop()] for _ in range(min(len(order), max(_BATCH, count - len(names))))]
        try:
            embedded = embed_labelled(source.name, chosen, embedder, settings, progress=terminal.progress)
        except UsageError as error:  # none of these images can be used
            log.warning("%s", error)
            continue
        nearest = vectors[neighbours(embedded.vectors, vectors, 1)[:, 0]]
        for key, vector, stored in zip(embedded.keys, embedded.vectors, nearest, strict=True):
            if vector @ stored < 1 - EPSILON:
                names.append(key)
                found.append(vector)
    if not names:
        raise UsageError(
            f"--query-source {text}: none of its images can be used, or all are stored. Name images that the"
            " collection does not have."
        )
    origin = f"images of {source.name} that are not stored"
    return Queries(names[:count], np.stack(found[:count]).astype(np.float32), origin)
