"""Points deleted, or their payload changed, without a source."""

from collections.abc import Callable, Sequence
from pathlib import Path

from cbir.errors import CbirError, UsageError
from cbir.filters.conditions import Filter
from cbir.pipeline.writers import OpenTargets, Target, open_targets, publish_all
from cbir.progress import Progress
from cbir.search.query import entries
from cbir.settings import Settings
from cbir.stores.base import Catalog, Records
from cbir.stores.checks import no_collection, open_name

Change = Callable[[Target, list[str]], None]
"""Changes the points with these ids in one store."""


def change_points(
    catalogs: Sequence[Catalog],
    collection: str | None,
    ids: Sequence[str],
    filter: Filter,
    settings: Settings,
    progress: Progress,
    change: Change,
    opening: OpenTargets = open_targets,
    opened: Records | None = None,
) -> int:
    """Change the points with these ids or that match the filter in every store, and publish the change.

    Return the number of points. `opened` are the records of the first catalog, if they are open already.

    Raises:
        UsageError: Neither ids nor a filter were given, or a store has no such collection.
        CbirError: A store failed, or is being filled; the collection is served as it was before.
    """
    if not ids and not filter:
        raise UsageError("say which points: give ids or a filter")
    chosen = []  # in all stores before any is changed
    for catalog in catalogs:
        name = open_name(catalog, collection)
        records = opened if opened and catalog is catalogs[0] else catalog.records(name)
        plan = catalog.plan(name)
        if plan is None:  # dropped by another process
            raise no_collection(catalog)
        chosen.append((plan, records.model(), _chosen(records, ids, filter)))
    limit = settings.max_image_megapixels
    for catalog, (plan, model, point_ids) in zip(catalogs, chosen, strict=True):
        if not point_ids:
            continue
        with opening([catalog], plan, model or Path(), limit, True) as (target,):
            if target.writer.resumed:
                raise CbirError(f"{target.writer.name} has an unfinished ingest; run it again first")
            target.writer.require_free_space(0)
            change(target, point_ids)
            target.flush()
            publish_all([target], progress, partial=True)  # a server shows each change at once
    return max(len(point_ids) for _, _, point_ids in chosen)


def _chosen(records: Records, ids: Sequence[str], filter: Filter) -> list[str]:
    """Return the ids of the chosen points that are stored."""
    existing = [point_id for point_id, payload in zip(ids, records.payloads(ids), strict=True) if payload is not None]
    matching = [entry.id for entry in entries(records, filter)] if filter else []
    return list(dict.fromkeys([*existing, *matching]))
