"""`cbir-ingest reindex`: the indexes of a collection built again from its vector log, without embedding anything."""

from collections.abc import Sequence

from cbir.errors import UsageError
from cbir.index.disk import full_disk_is_one_line
from cbir.index.generation import MODEL, Plan, open_generation, resolve
from cbir.pipeline.writers import open_targets, publish_all
from cbir.settings import Settings
from cbir.stores.base import locate, newest_collection, parse


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
