"""`cbir-ingest delete` and `update`: points removed, or their payload changed, without a source."""

from collections.abc import Callable, Sequence
from pathlib import Path

from cbir.errors import UsageError
from cbir.filters.conditions import Filter, Value
from cbir.filters.parser import number
from cbir.index.disk import full_disk_is_one_line
from cbir.index.generation import Plan
from cbir.pipeline.writers import Target, open_targets, publish_all
from cbir.records import IDENTITY, Payload
from cbir.search.query import entries
from cbir.settings import Settings
from cbir.stores.base import Store, locate, open_store, parse

_WORDS: dict[str, Value] = {"null": None, "true": True, "false": False}


def delete(stores: Sequence[str], collection: str | None, ids: Sequence[str], where: Filter, settings: Settings) -> int:
    """Remove the points with these ids, and those that hold to a filter, and publish; return how many.

    Raises:
        UsageError: Neither ids nor a filter were given, or a store has no such collection.
        CbirError: A store failed, or is being filled; what was there is still served.
    """
    return _edit(stores, collection, ids, where, settings, lambda target, chosen: target.delete(chosen))


def update(
    stores: Sequence[str],
    collection: str | None,
    ids: Sequence[str],
    where: Filter,
    changes: Payload,
    settings: Settings,
) -> int:
    """Set payload fields of the points with these ids, and of those that hold to a filter, and publish.

    Returns:
        How many points there were.

    Raises:
        UsageError: As `delete`; or a field was to be changed that says which picture it is.
        CbirError: A store failed, or is being filled; what was there is still served.
    """
    for name in IDENTITY:
        if name in changes:
            raise UsageError(f"the field {name} cannot be changed: it says which picture the point is of")
    return _edit(stores, collection, ids, where, settings, lambda target, chosen: target.sink.update(chosen, changes))


def parse_changes(texts: Sequence[str]) -> Payload:
    """Return the fields that texts such as `label=Boots`, `year=2016` and `season=null` set.

    Raises:
        UsageError: One of them is not NAME=VALUE.
    """
    changes: dict[str, Value] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not name or not sign:
            raise UsageError(f"{text!r} does not say what to set; give NAME=VALUE")
        found = number(value)
        changes[name] = _WORDS.get(value, value if found is None else found)
    return changes


def _edit(
    stores: Sequence[str],
    collection: str | None,
    ids: Sequence[str],
    where: Filter,
    settings: Settings,
    change: Callable[[Target, list[str]], None],
) -> int:
    if not ids and not where:
        raise UsageError("say which points: give --id or --filter")
    changed = 0
    for group in _by_place(stores):
        store = open_store(group[0], collection, settings)
        try:
            info, model = store.info, store.model()
            chosen = _chosen(store, ids, where)
        finally:
            store.close()
        changed = max(changed, len(chosen))
        if chosen:
            plan = Plan(info.collection, info.dataset, info.source, info.model, None)
            with full_disk_is_one_line(), open_targets(group, plan, model or Path(), settings, True) as targets:
                for target in targets:
                    target.sink.require_room(0)
                    change(target, chosen)
                    target.flush()
                publish_all(targets)
    return changed


def _chosen(store: Store, ids: Sequence[str], where: Filter) -> list[str]:
    """Return the ids that are there of those given, and of the points that hold to the filter."""
    there = [one for one, vector in zip(ids, store.vectors(ids), strict=True) if vector is not None]
    found = (entry.id for entry in entries(store, where)) if where else ()
    return list(dict.fromkeys([*there, *found]))


def _by_place(stores: Sequence[str]) -> list[list[str]]:
    """Return the stores of each index folder together, and each server by itself."""
    embedded = [url for url in map(parse, stores) if url.embedded]
    roots: dict[str, list[str]] = {}
    for place in locate(embedded):
        roots.setdefault(str(place.root), []).append(place.url.text)
    return [*roots.values(), *([one] for one in stores if not parse(one).embedded)]
