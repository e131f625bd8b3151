"""What all stores share: the check of a query, the order of hits, the choice of the collection to open."""

import hashlib
import math
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np

from cbir.errors import UsageError
from cbir.index import layout
from cbir.index.names import check_collection
from cbir.records import Hit, Vector
from cbir.stores.base import Catalog
from cbir.text import redacted

Item = TypeVar("Item")
Row = tuple[list[float], list[Item]]
"""The scores of the points that were found for a query, and what stands for each point."""
Chosen = slice | list[int]
"""Which of the queries of a search are meant: all of them, or those with these numbers."""
_ALL = slice(None)


def check_query(vectors: Vector, k: int, dimension: int) -> None:
    """Raise `UsageError` for vectors that are not finite (Q, `dimension`), or for k below 1."""
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise UsageError(
            f"the query has shape {vectors.shape}, but the collection's vectors have {dimension} dimensions"
        )
    if not (math.isfinite(np.vdot(vectors, vectors)) or np.isfinite(vectors).all()):  # the first takes a third
        raise UsageError("the query vector is not finite")
    if k < 1:
        raise UsageError(f"k must be at least 1, not {k}")


def check_id(point_id: str | None) -> None:
    """Raise `UsageError` for text that cannot be the id of a point; None is accepted."""
    try:
        uuid.UUID(point_id or "0" * 32)
    except ValueError:
        raise UsageError(f"{point_id!r} is not an id: ids are UUIDs") from None


def server_journal(cache: Path, address: str, collection: str) -> Path:
    """Return the path of the journal of a collection on a server, which takes no files."""
    digest = hashlib.sha256(f"{address}\n{collection}".encode()).hexdigest()[:32]
    return cache / "journals" / f"{digest}-{layout.JOURNAL}"


def best_hits(
    fetch: Callable[[Chosen, int], Iterable[Row[Item]]],
    k: int,
    name: Callable[[Item], str],
    hits_of: Callable[[list[float], list[Item]], list[Hit]],
) -> list[list[Hit]]:
    """Return the k best hits of each query: by falling score, then by id.

    `fetch` returns as many of the best points as wanted, or more, of the chosen queries, each in any order. An engine
    keeps any of the points with equal scores, such as exact copies. So k + 1 are fetched, and if the k-th score goes on
    after the k-th point, twice as many, until it ends. An id is read, by `name`, only to put equal scores in order.
    """
    wanted = k + 1
    best: list[list[Hit]] = []
    unclear: list[tuple[int, Row[Item]]] = []
    for row in fetch(_ALL, wanted):
        scores, items = row
        if sorted(set(scores), reverse=True) != scores:
            unclear.append((len(best), row))
        best.append(hits_of(scores[:k], items[:k]))
    while unclear:
        tied = []
        for i, (scores, items) in unclear:
            pairs = sorted(zip(scores, items, strict=True), key=lambda pair: -pair[0])
            if len(set(scores)) < len(scores):
                pairs.sort(key=lambda pair: (-pair[0], name(pair[1])))
            if len(pairs) >= wanted and pairs[wanted - 1][0] == pairs[k - 1][0]:
                tied.append(i)
            best[i] = hits_of([score for score, _ in pairs[:k]], [item for _, item in pairs[:k]])
        wanted *= 2
        unclear = list(zip(tied, fetch(tied, wanted), strict=True)) if tied else []
    return best


def ranked(hits: Iterable[Hit]) -> list[Hit]:
    """Return the hits in order."""
    return sorted(hits, key=rank)


def rank(hit: Hit) -> tuple[float, str]:
    """Return the sort key of a hit: by falling score, then by id."""
    return (-hit.score, hit.id)


def open_name(catalog: Catalog, name: str | None) -> str:
    """Return the collection that a name or an alias stands for; for None the one published last."""
    if name is not None:
        check_collection(name)
        return catalog.resolve(name)
    names = catalog.names()
    if not names:
        raise no_collection(catalog)
    return names[0]


def no_collection(catalog: Catalog, model: str | Path | None = None) -> UsageError:
    """Return the error for a store that has no collection, or none that was made with a model."""
    url = redacted(catalog.urls[0])
    made, option = (f" made with {model}", f" --model {model}") if model is not None else ("", "")
    return UsageError(f"No collection{made} found at {url}. Create one with: cbir-ingest SOURCE --store {url}{option}")
