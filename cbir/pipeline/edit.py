"""Points removed, or their payload changed, without a source."""

from collections.abc import Callable, Sequence
from pathlib import Path

from cbir.errors import CbirError, UsageError
from cbir.filters.conditions import Filter
from cbir.index.generation import Plan
from cbir.pipeline.writers import Target, open_targets, publish_all
from cbir.progress import Progress
from cbir.search.query import entries
from cbir.settings import Settings
from cbir.stores.base import Catalog

Change = Callable[[Target, list[str]], None]  # of the points with these ids, in one store


def change_points(
    catalogs: Sequence[Catalog],
    collection: str | None,
    ids: Sequence[str],
    filter: Filter,
    settings: Settings,
    progress: Progress,
    change: Change,
) -> int:
    """Change the points with these ids and those that match a filter, in every store, and publish; return how many.

    Raises:
        UsageError: Neither ids nor a filter were given, or a store has no such collection.
        CbirError: A store failed, or is being filled; what was there is still served.
    """
    if not ids and not filter:
        raise UsageError("say which points: give ids or a filter")
    chosen = [_opened(catalog, collection, ids, filter) for catalog in catalogs]  # all, before the first is changed
    limit = settings.max_image_megapixels
    for catalog, (plan, model, points) in zip(catalogs, chosen, strict=True):
        if not points:
            continue
        with open_targets([catalog], plan, model or Path(), limit, same_source=True) as (target,):
            if target.writer.resumed:
                raise CbirError(f"{target.writer.name} has an unfinished ingest; run it again first")
            target.writer.require_free_space(0)
            change(target, points)
            target.flush()
            publish_all([target], progress, partial=True)  # a server shows each change at once
    return max(len(points) for _, _, points in chosen)


def _opened(
    catalog: Catalog, collection: str | None, ids: Sequence[str], filter: Filter
) -> tuple[Plan, Path | None, list[str]]:
    """Return what the collection is, its model file, and the ids of the points that are chosen in it."""
    store = catalog.open(collection)
    try:
        info = store.info
        plan = Plan(info.collection, info.dataset, info.source, info.model, None)
        existing = [point_id for point_id, vector in zip(ids, store.vectors(ids), strict=True) if vector is not None]
        matching = [entry.id for entry in entries(store, filter)] if filter else []
        return plan, store.model(), list(dict.fromkeys([*existing, *matching]))
    finally:
        store.close()
