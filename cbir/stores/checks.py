"""What all stores share: the check of a query, the order and paging of hits, the choice of the collection to open."""

import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cbir.errors import UsageError
from cbir.index.names import check_collection
from cbir.records import Hit, Vector
from cbir.stores.base import Catalog
from cbir.text import redacted


def check_query(vectors: Vector, k: int, dimension: int, offset: int = 0) -> None:
    """Raise `UsageError` for vectors that are not finite (Q, `dimension`), for k below 1 or an offset below 0."""
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise UsageError(
            f"the query has shape {vectors.shape}, but the collection's vectors have {dimension} dimensions"
        )
    if not np.isfinite(vectors).all():
        raise UsageError("the query vector is not finite")
    if k < 1:
        raise UsageError(f"k must be at least 1, not {k}")
    if offset < 0:
        raise UsageError(f"the offset must not be negative, as {offset} is")


def check_id(point_id: str | None) -> None:
    """Raise `UsageError` for text that cannot be the id of a point; None is accepted."""
    try:
        uuid.UUID(point_id or "0" * 32)
    except ValueError:
        raise UsageError(f"{point_id!r} is not an id: ids are UUIDs") from None


def page(hits: Sequence[Hit], k: int, min_score: float | None, offset: int) -> list[Hit]:
    """Return the hits with at least `min_score` in order, k of them from `offset` on."""
    good = [hit for hit in hits if min_score is None or hit.score >= min_score]
    return sorted(good, key=rank)[offset : offset + k]


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
