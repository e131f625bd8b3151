"""Finds the backend of a store URL and returns its `Catalog`. Nothing else has to know which backend it is."""

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import cast

from cbir.errors import UsageError
from cbir.settings import Settings
from cbir.stores.base import Catalog, Store
from cbir.stores.engines import ENGINES
from cbir.stores.url import API_SCHEMES, SERVER_SCHEMES, StoreURL, as_url, parse, with_index_fields
from cbir.text import redacted

_EMBEDDED = "cbir.stores.embedded.catalog"
_QDRANT = "cbir.stores.qdrant.catalog"
_API = "cbir.stores.api.catalog"
BACKENDS: Mapping[str, str] = {
    **dict.fromkeys(ENGINES, _EMBEDDED),
    **dict.fromkeys(SERVER_SCHEMES, _QDRANT),
    **dict.fromkeys(API_SCHEMES, _API),
}
"""The backend of each scheme: a module whose `connect` takes parsed URLs and returns a catalog for each address."""

StoreInput = str | os.PathLike[str]
"""A store URL, or the path of an index folder."""


def connect_all(stores: Sequence[StoreInput], settings: Settings, index_fields: Sequence[str] = ()) -> list[Catalog]:
    """Return a catalog for each index folder and each server that the URLs name, in the order of the URLs.

    URLs in one index folder share a catalog. Nothing is opened or created yet. `index_fields` are the payload fields to
    index, for the engines that have such indexes.
    """
    urls = with_index_fields(stores, index_fields) if index_fields else [as_url(store) for store in stores]
    by_backend: dict[str, list[StoreURL]] = {}
    for url in map(parse, urls):
        by_backend.setdefault(BACKENDS[url.scheme], []).append(url)
    catalogs = [
        catalog
        for module, parsed in by_backend.items()
        for catalog in cast(list[Catalog], import_module(module).connect(parsed, settings))
    ]
    if len({catalog.address for catalog in catalogs}) < len(catalogs):
        raise UsageError(f"the same store twice: {', '.join(map(redacted, urls))}")
    return sorted(catalogs, key=lambda catalog: urls.index(catalog.urls[0]))


def as_list(stores: Sequence[StoreInput]) -> str:
    """Return the stores as the setting `CBIR_STORES` has them, which is read back by `cbir.settings.split_stores`."""
    return ",".join(map(as_url, stores))


def connect(store: StoreInput, settings: Settings) -> Catalog:
    """Return the catalog of one store (see `connect_all`)."""
    (catalog,) = connect_all([store], settings)
    return catalog


def open_store(url: str, collection: str | None, settings: Settings) -> Store:
    """Open a collection for reading (see `Catalog.open`)."""
    return connect(url, settings).open(collection)
