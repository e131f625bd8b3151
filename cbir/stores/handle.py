"""An open store that is opened again when a new generation is published."""

import logging
import threading
from collections.abc import Hashable

from cbir.errors import CbirError, UsageError
from cbir.stores.base import Catalog, Records, Store, StoreInfo

log = logging.getLogger(__name__)


class StoreHandle:
    """The store of one collection, opened at the first use. Safe to share between threads.

    `name` is None until images are added to a new collection.
    """

    def __init__(self, catalog: Catalog, name: str | None):
        self.name = name
        self._catalog = catalog
        self._store: Store | None = None
        self._version: Hashable = None
        self._renewal: threading.Thread | None = None
        self._closed = False
        self._lock = threading.RLock()

    def get(self) -> Store:
        """Return the store of the generation published last; `UsageError` if it is closed, empty or was dropped."""
        with self._lock:
            self.require_open()
            if self.name is None:
                raise UsageError(f"the collection in {self._catalog.address} is empty; add images first")
            version = self._catalog.version(self.name)
            if self._store is None or version != self._version:
                # The old store stays open: other threads may be searching it.
                store = self._catalog.open(self.name, self._store)
                self._opened, self._version, self._store = store.info, version, store
                if store.is_behind and not (self._renewal and self._renewal.is_alive()):
                    self._renewal = threading.Thread(target=self.renew, daemon=True)
                    self._renewal.start()
            return self._store

    def records(self) -> Records:
        """Return what the collection stores, without opening an index for that."""
        with self._lock:
            if self._store is not None or self.name is None or self._catalog.files is None:
                return self.get()
            self.require_open()
            return self._catalog.records(self.name)

    def dataset(self) -> str:
        """Return the name of the collection's data set, without opening an index for that."""
        unopened = self._catalog.plan(self.name) if self._store is None and self.name is not None else None
        return unopened.dataset if unopened else self.opened().dataset

    def renew(self) -> None:
        """Open the newest generation, which takes seconds, while others search with the one before."""
        name = str(self.name)
        version = self._catalog.version(name)
        try:
            store = self._catalog.open(name)
        except CbirError as error:
            log.warning("%s cannot be opened again: %s", name, error)
            return
        with self._lock:
            if self._closed:
                store.close()
            else:
                self._opened, self._version, self._store = store.info, version, store

    def opened(self) -> StoreInfo:
        """Return the facts that the store reported when it was opened. A server's counts may have changed since."""
        self.require_open()
        if self._store is None:
            self.get()
        return self._opened

    def is_filled(self) -> bool:
        """Return False if nothing was added to the collection yet."""
        self.require_open()
        return self._store is not None or (self.name is not None and self._catalog.plan(self.name) is not None)

    def require_open(self) -> None:
        """Raise `UsageError` if the collection was closed."""
        if self._closed:
            raise UsageError("this collection is closed; open it again with cbir.open")

    def close(self) -> None:
        """Close the store. A second call does nothing."""
        with self._lock:
            self._closed = True
            if self._store is not None:
                self._store.close()
                self._store = None
