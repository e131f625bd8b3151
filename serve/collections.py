"""The collections that a server has opened, by the names that clients use."""

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from starlette.exceptions import HTTPException

import cbir
from cbir.collection import Collection
from cbir.errors import CbirError, UsageError
from cbir.index.names import check_collection
from cbir.stores.base import Catalog, StoreInfo

from .settings import ServeSettings

FRESH_SECONDS = 1.0
"""How long a name stands for the same collection before the store is read again: another may take a data set's name."""


class OpenCollections:
    """Opens each collection once, and follows the names of data sets. Safe to share between threads.

    A lock is that of one collection, so that requests for others do not wait for its store.
    """

    def __init__(self, catalogs: Sequence[Catalog], settings: ServeSettings):
        self._catalog, self._settings = catalogs[0], settings
        self._opened: dict[str, Collection] = {}
        self._resolved: dict[str, tuple[str, float]] = {}
        self._locks: dict[str, threading.Lock] = {}

    def fresh(self, name: str) -> Collection | None:
        """Return the collection that a name stood for a moment ago; None if that has to be looked up. Never blocks."""
        found, until = self._resolved.get(name, ("", 0.0))
        return self._opened.get(found) if time.monotonic() < until else None

    def open(self, name: str, create: bool = False) -> Collection:
        """Return the collection that a name stands for, opened at the first use.

        With `create`, it may be a new one, whose first image creates it. Raises 404 if there is none, and 422 for a
        name that no collection can have.
        """
        try:
            check_collection(name)
        except UsageError as error:
            raise HTTPException(422, str(error)) from None
        before, _ = self._resolved.pop(name, (name, 0.0))
        found = self._catalog.resolve(name)
        self._close_if_dropped(before)
        stores, settings = self._settings.store_urls, self._settings
        if self._catalog.plan(found) is None:
            if create:
                return cbir.open(stores, found, create=True, settings=settings)
            raise HTTPException(404, f"there is no collection {name}")
        with self._locks.setdefault(found, threading.Lock()):
            collection = self._opened.get(found)
            if collection is None:
                collection = self._opened[found] = cbir.open(stores, found, settings=settings)
        self._resolved[name] = found, time.monotonic() + FRESH_SECONDS
        return collection

    def forget_names(self) -> None:
        """Look up again what each name stands for."""
        self._resolved.clear()

    def facts(self) -> Mapping[str, StoreInfo]:
        """Return the facts about each open collection that still exists, and is not damaged."""
        facts = {}
        for name in list(self._opened):
            with suppress(CbirError):
                self._close_if_dropped(name)
                if collection := self._opened.get(name):
                    facts[name] = collection.info
        return facts

    def close(self) -> None:
        """Close all collections."""
        for collection in self._opened.values():
            collection.close()

    def _close_if_dropped(self, name: str) -> None:
        if name not in self._opened:
            return
        with self._locks[name]:
            if name in self._opened and self._catalog.plan(name) is None:
                self._opened.pop(name).close()
