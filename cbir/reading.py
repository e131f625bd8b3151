"""The reading half of a collection: get, count, list, verify."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from cbir.errors import UsageError
from cbir.filters.conditions import Value
from cbir.index.generation import Damage
from cbir.results import StoredImage
from cbir.search import duplicates
from cbir.search.examples import to_ids
from cbir.search.fields import checked_filter, require_fields
from cbir.search.query import entries, mapped_vectors
from cbir.searching import CollectionSearcher, FilterInput
from cbir.stores.base import Catalog


class CollectionReader(CollectionSearcher):
    """A collection that is only read. Safe to share between threads.

    A filter that cannot be understood, or that names a field no image has, raises `UsageError`.
    """

    def close(self) -> None:
        """Close the collection. A second call does nothing.

        Example:
            >>> photos.close()
            >>> photos.count()
            Traceback (most recent call last):
            ...
            cbir.errors.UsageError: this collection is closed; open it again with cbir.open
        """
        self._handle.close()

    def require_published(self) -> None:
        """Raise `UsageError` if there is no such collection. No index is opened for that.

        Example:
            >>> photos.require_published()
        """
        if not self._handle.is_filled():
            self._handle.get()

    def get(self, id_or_key: str) -> StoredImage | None:
        """Return the image with an id or a key, or None.

        Example:
            >>> photos.get("1F600").label
            'Smileys & Emotion'
            >>> photos.get("nothing") is None
            True
        """
        if not self._handle.is_filled():
            return None
        store = self.store
        found = self._ids([id_or_key])[0]
        (payload,) = store.payloads([found])
        return None if payload is None else StoredImage(found, payload, **self._links(store))

    def count(self, filter: FilterInput = None) -> int:
        """Return the number of images, or of those that match a filter.

        Example:
            >>> photos.count(), photos.count("label=Symbols") < 300
            (300, True)
        """
        if not self._handle.is_filled():
            return 0
        records = self._handle.records()
        return records.count(checked_filter(filter, records))

    def facet(self, field: str, filter: FilterInput = None, limit: int = 100) -> list[tuple[Value, int]]:
        """Return the values of a payload field with their number of images, the most frequent first.

        Example:
            >>> value, count = photos.facet("label")[0]
            >>> count == photos.count(f"label={value}")
            True

        Raises:
            UsageError: No image has this field.
        """
        store = self.store
        require_fields([field], store)
        return store.facet(field, checked_filter(filter, store), limit)

    def fields(self) -> dict[str, str]:
        """Return the payload fields that a filter can use, each with its kind: "text", "number" or "truth".

        Example:
            >>> photos.fields()["label"]
            'text'
        """
        fields = self._handle.records().fields() if self._handle.is_filled() else {}
        return {name: kind.value for name, kind in fields.items()}

    def scroll(self, filter: FilterInput = None) -> Iterator[StoredImage]:
        """Iterate over all images, or those that match a filter, in the order of ids.

        Example:
            >>> sum(1 for image in photos.scroll())
            300
        """
        if not self._handle.is_filled():
            return iter(())
        store = self.store
        found, links = entries(store, checked_filter(filter, store)), self._links(store)
        return (StoredImage(entry.id, entry.payload, **links) for entry in found)

    def duplicates(self, near: int | None = None) -> list[list[str]]:
        """Return the keys of images that are copies of each other, a list for each group of copies.

        Example:
            >>> photos.add(["query.png"], keys=["copy"]).stored
            1
            >>> photos.duplicates()
            [['1F600', 'copy']]

        Args:
            near: Also count images as copies whose perceptual hashes differ in at most this many of 64 bits; None:
                only the same bytes.

        Raises:
            UsageError: `near` is out of range.
        """
        if near is not None and not 0 <= near <= duplicates.HASH_BITS:
            raise UsageError(f"near must be from 0 to {duplicates.HASH_BITS} bits, not {near}")
        return duplicates.groups(self.store.points(), near) if self._handle.is_filled() else []

    def verify(self) -> list[Damage]:
        """Return the damaged files. Every file is compared with the checksum it was published with.

        Example:
            >>> photos.verify()
            []

        Raises:
            UsageError: The only stores are Qdrant servers, which verify their own storage.
        """
        catalogs, name = self._open_catalogs(), self._handle.name
        embedded = [catalog for catalog in catalogs if catalog.files is not None]
        return [damage for catalog in embedded or catalogs for damage in catalog.verify(name)] if name else []

    def vectors(self) -> npt.NDArray[np.float32]:
        """Return all vectors, float32 (n, D), read-only and memory-mapped, in the order of `scroll`.

        Example:
            >>> photos.vectors().shape
            (300, 1280)
        """
        return mapped_vectors(self.store)

    def _open_catalogs(self) -> tuple[Catalog, ...]:
        self._handle.require_open()
        return self._catalogs

    def _ids(self, ids: Sequence[str]) -> list[str]:
        """Return the ids for ids or keys."""
        return to_ids(ids, self._handle.dataset() if ids else "")
