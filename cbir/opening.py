"""Opening, listing and dropping collections."""

import os
from collections.abc import Sequence
from pathlib import Path

from cbir.collection import Collection
from cbir.errors import UsageError
from cbir.index.names import check_collection
from cbir.models.choice import checksums
from cbir.settings import Settings
from cbir.stores.base import Catalog
from cbir.stores.checks import no_collection
from cbir.stores.listing import CollectionInfo
from cbir.stores.registry import StoreInput, connect, connect_all


def open(
    store: StoreInput | Sequence[StoreInput],
    collection: str | None = None,
    *,
    create: bool = False,
    model: str | Path | None = None,
    settings: Settings | None = None,
) -> Collection:
    """Open a collection.

    Example:
        >>> photos = cbir.open("./index")
        >>> photos.count()
        300
        >>> new = cbir.open("./new", create=True, model="efficientnet_lite0")
        >>> new.count()
        0

    Args:
        store: A path (`./index`), a store URL (`edge:./index`, `faiss:./index/faiss`, `https://qdrant.example:6333`),
            or several: what is added is written to all of them, and the first is searched.
        collection: Name of the collection or of its data set; None: the one published last.
        create: Return an empty collection if there is none; the first `add` creates it.
        model: A packaged model's name or a model file; an existing collection must have been made with it. None: that
            of the collection, or the packaged default. `settings.precision` chooses between fp32 and int8.
        settings: Settings for this collection; None: those of the environment.

    Raises:
        UsageError: There is no such store or collection, or it was made with another model.
        DamageError: A file of the index is damaged; nothing of it is served.
        CbirError: A server cannot be reached, or refuses.
    """
    opened, exists = _found(store, collection, create, model, settings or Settings())
    if exists:
        opened.store  # noqa: B018  a damaged index, or one that does not exist, is an error now
    return opened


def open_to_change(store: StoreInput | Sequence[StoreInput], collection: str | None, settings: Settings) -> Collection:
    """Return an existing collection as `open` does, but leave its index to the first search: a change needs none."""
    opened, _ = _found(store, collection, False, None, settings)
    opened.require_published()
    return opened


def _found(
    store: StoreInput | Sequence[StoreInput],
    collection: str | None,
    create: bool,
    model: str | Path | None,
    settings: Settings,
) -> tuple[Collection, bool]:
    """Return a collection, and False if it has to be created."""
    stores = [store] if isinstance(store, str | os.PathLike) else store
    catalogs = connect_all(stores, settings)
    if not catalogs:
        raise UsageError("name a store: a path such as ./index, or a store URL")
    name = _find(catalogs[0], collection, model, create, settings)
    return Collection(catalogs, name or collection, settings, model), name is not None


def collections(store: StoreInput, *, settings: Settings | None = None) -> list[CollectionInfo]:
    """Return the collections of a store, including unfinished and damaged ones. The one opened by default is first.

    Example:
        >>> [(found.collection, found.points, found.condition) for found in cbir.collections("./index")]
        [('photos', 300, 'ready')]

    Raises:
        UsageError: There is no such store or folder.
        CbirError: The store cannot be read.
    """
    catalog = connect(store, settings or Settings())
    if catalog.files is not None and not catalog.files.is_dir():
        raise UsageError(f"there is no index folder {catalog.address}")
    return list(catalog.listing())


def drop(store: StoreInput, collection: str, *, settings: Settings | None = None) -> None:
    """Remove a collection with its indexes and journal. Cannot be undone.

    Example:
        >>> cbir.drop("./old", "photos")
        >>> cbir.collections("./old")
        []

    Raises:
        UsageError: There is no collection of that name.
        CbirError: An ingest is filling it, or the server refuses.
    """
    check_collection(collection)
    connect(store, settings or Settings()).drop(collection)


def _find(
    catalog: Catalog, collection: str | None, model: str | Path | None, create: bool, settings: Settings
) -> str | None:
    """Return the name of the collection to open, or None if it has to be created."""
    made_by = checksums(model, settings) if model is not None else None
    if collection is not None:
        check_collection(collection)
        name = catalog.resolve(collection)
        plan = catalog.plan(name)
        if plan is None:
            return None if create else collection
        if made_by is not None and plan.model.sha256 not in made_by:
            raise UsageError(
                f"collection {name} in {catalog.address} was made with another model than {_wanted(model, settings)}:"
                f" {plan.model.described}; leave the model out, or name another collection"
            )
        return name
    names = catalog.names()
    for name in names:
        plan = catalog.plan(name)
        if made_by is None or (plan is not None and plan.model.sha256 in made_by):
            return name
    if create:
        return None
    raise no_collection(catalog, _wanted(model, settings) if model is not None and names else None)


def _wanted(model: str | Path | None, settings: Settings) -> str:
    """Return the requested model, with the precision if that is set."""
    return str(model) if settings.precision == "auto" else f"{model} --precision {settings.precision}"
