"""`cbir-ingest reindex`: the indexes of a collection built again from its vector log, without embedding anything."""

from collections.abc import Sequence
from pathlib import Path

from cbir.errors import UsageError
from cbir.generation import JOURNAL, MODEL, Plan, open_generation, resolve
from cbir.settings import Settings
from cbir.stores import locate, newest_collection, parse

from .disk import full_disk_is_one_line
from .journal import server_journal
from .sinks import open_targets, publish_all


def reindex(stores: Sequence[str], collection: str | None, settings: Settings) -> None:
    """Build and publish the indexes that the URLs name, with the options that they give.

    Raises:
        UsageError: A store is a server, or has no such collection, or its index cannot be built so.
        DamageError: The vector log is damaged.
    """
    urls = [parse(store) for store in stores]
    for url in urls:
        if not url.embedded:
            raise UsageError(f"{url.text} builds its index itself; reindex is for stores in a folder")
    for root in dict.fromkeys(place.root for place in locate(urls)):
        mine = [place.url.text for place in locate(urls) if place.root == root]
        name = resolve(root, collection) if collection else newest_collection(mine[0], settings)
        generation = open_generation(root, name)
        manifest = generation.manifest
        plan = Plan(name, manifest.dataset, manifest.source, manifest.model, None)
        with (
            full_disk_is_one_line(),
            open_targets(mine, plan, generation.folder / MODEL, settings, same_source=False, anew=True) as targets,
        ):
            for target in targets:
                target.sink.require_room(0)
            publish_all(targets)


def journals(stores: Sequence[str], collection: str | None, settings: Settings) -> list[Path]:
    """Return the paths of a collection's journals in these stores.

    Raises:
        UsageError: A store has no such collection.
    """
    found = dict[Path, None]()
    for url in map(parse, stores):
        if not url.embedded:
            found[server_journal(settings, url.text, collection or newest_collection(url.text, settings))] = None
            continue
        root = locate([url])[0].root
        path = root / collection / JOURNAL if collection else None
        if path is None or not path.is_file():  # one that was never published has failures, too
            name = resolve(root, collection) if collection else newest_collection(url.text, settings)
            path = root / name / JOURNAL
        found[path] = None
    return list(found)
