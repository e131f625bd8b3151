"""What all stores share: the check of a query, the order of hits, the choice of the collection to open."""

import math
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np

from cbir.errors import UsageError
from cbir.index.names import check_collection
from cbir.records import Hit, Payload, Vector
from cbir.stores.base import Catalog
from cbir.text import redacted

Where = TypeVar("Where")
Candidate = tuple[float, str, Where]
"""A point that may become a hit: its negated score, its id, and where its payload is. They sort as hits do."""


def check_query(vectors: Vector, k: int, dimension: int) -> None:
    """Raise `UsageError` for vectors that are not finite (Q, `dimension`), or for k below 1."""
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise UsageError(
            f"the query has shape {vectors.shape}, but the collection's vectors have {dimension} dimensions"
        )
    if not np.isfinite(vectors).all():
        raise UsageError("the query vector is not finite")
    if k < 1:
        raise UsageError(f"k must be at least 1, not {k}")


def check_id(point_id: str | None) -> None:
    """Raise `UsageError` for text that cannot be the id of a point; None is accepted."""
    try:
        uuid.UUID(point_id or "0" * 32)
    except ValueError:
        raise UsageError(f"{point_id!r} is not an id: ids are UUIDs") from None


def best_hits(
    ask: Callable[[Vector, int], list[list[Candidate[Where]]]],
    vectors: Vector,
    k: int,
    min_score: float | None,
    payload: Callable[[Where], Payload],
) -> list[list[Hit]]:
    """Return the k best hits of each vector with at least `min_score`: by falling score, then by id.

    `ask` returns an engine's best candidates, at least as many as wanted if there are so many, in any order; `payload`
    is read for those that become hits. An engine keeps any of the points with equal scores, such as exact copies. If
    the k-th score goes on after the k-th hit, twice as many are asked for, until it ends.
    """
    wanted = k + 1
    found = [sorted(row)[:wanted] for row in ask(vectors, wanted)]
    while tied := [i for i, row in enumerate(found) if len(row) == wanted and row[-1][0] == row[k - 1][0]]:
        wanted *= 2
        for i, row in zip(tied, ask(vectors[tied], wanted), strict=True):
            found[i] = sorted(row)[:wanted]
    worst = math.inf if min_score is None else -min_score
    return [[Hit(name, payload(where), -loss) for loss, name, where in row[:k] if loss <= worst] for row in found]


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
