"""`cbir-ingest reindex`: build the indexes of a collection again from its vector log."""

from collections.abc import Sequence
from pathlib import Path

from cbir import terminal
from cbir.errors import UsageError
from cbir.pipeline.writers import open_targets, publish_all
from cbir.settings import Settings
from cbir.stores.checks import open_name
from cbir.stores.registry import connect_all


def reindex(stores: Sequence[str], collection: str | None, settings: Settings) -> None:
    """Build and publish the indexes that the URLs name, with the options in the URLs.

    Raises:
        UsageError: A store is a server, has no such collection, or cannot build an index with these options.
        DamageError: The vector log is damaged.
    """
    catalogs = connect_all(stores, settings)
    for catalog in catalogs:
        if not catalog.keeps_model:
            raise UsageError(f"{catalog.address} builds its index itself. `reindex` works on embedded indexes only.")
    for catalog in catalogs:
        contents = catalog.contents(open_name(catalog, collection))
        limit = settings.max_image_megapixels
        with open_targets([catalog], contents.plan, contents.model or Path(), limit, rebuild=True) as (target,):
            target.writer.require_free_space(0)
            publish_all([target], terminal.progress)
