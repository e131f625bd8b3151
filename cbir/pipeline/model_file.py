"""The file of the model that an ingest embeds with."""

from collections.abc import Sequence
from pathlib import Path

from cbir.index.names import collection_name
from cbir.models.card import ModelRef
from cbir.models.choice import choose_file
from cbir.settings import Settings
from cbir.stores.base import Catalog


def file_for_ingest(
    model: str | Path,
    settings: Settings,
    catalogs: Sequence[Catalog],
    collection: str | None,
    dataset: str,
    partial: bool = False,
) -> Path:
    """Return the file of a model for an ingest: for "auto" that of the collection, also of an unfinished one.

    With `partial`, other machines may fill the same new collection. They all take the same file then.
    """
    name = collection or collection_name(dataset, str(model))
    existing = (made_by for catalog in catalogs if (made_by := _made_by(catalog, name)) is not None)
    return choose_file(model, settings, existing, tested=not partial)


def _made_by(catalog: Catalog, name: str) -> ModelRef | None:
    """Return the model of a collection's vectors, None if there is no such collection."""
    plan = catalog.plan(name)
    if plan is not None:
        return plan.model
    return next((info.made_by for info in catalog.listing() if info.collection == name), None)
