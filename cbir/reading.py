"""The reading half of a collection: search, count, list, verify."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cbir.errors import UsageError
from cbir.filters.conditions import Filter, Value
from cbir.images.crop import Crop
from cbir.images.inputs import ImageInput
from cbir.index.generation import Damage
from cbir.models.embedder import Embedder
from cbir.records import Vector
from cbir.results import Hit, HitGroup, Hits, StoredImage
from cbir.search import duplicates
from cbir.search.examples import (
    Clock,
    ExampleMaker,
    Examples,
    QueryImage,
    Texts,
    embed,
    shared_embedder,
    to_ids,
    weighted_images,
    weighted_texts,
)
from cbir.search.fields import checked_filter, require_fields
from cbir.search.query import Query, entries, mapped_vectors, search, search_groups
from cbir.search.zero_shot import ZeroShotLabel, classified, label_vectors
from cbir.settings import Settings
from cbir.stores.base import Catalog, SearchParams, Store, StoreInfo
from cbir.stores.handle import StoreHandle
from cbir.text import redacted

FilterInput = str | Filter | None
"""A filter as text, such as `label=Shoes|Boots and year>=2015`, or a parsed one."""


class CollectionReader:
    """A collection that is only read. Safe to share between threads.

    A filter that cannot be understood, or that names a field no image has, raises `UsageError`.
    """

    def __init__(
        self, catalogs: Sequence[Catalog], name: str | None, settings: Settings, model: str | Path | None = None
    ):
        """Prepare a collection in some stores, of which the first is searched. Nothing is opened or created yet.

        Without a name, a new collection is named after the data set and model of what is added first.
        """
        self.settings = settings
        self._catalogs = tuple(catalogs)
        self._model = model
        self._handle = StoreHandle(self._catalogs[0], name)
        self._embedder: Embedder | None = None

    def __repr__(self) -> str:
        return f"<cbir.Collection {self._handle.name or '(empty)'} in {redacted(self._catalogs[0].urls[0])}>"

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

    @property
    def store(self) -> Store:
        """The open store of the generation published last."""
        return self._handle.get()

    def require_published(self) -> None:
        """Raise `UsageError` if there is no such collection. No index is opened for that.

        Example:
            >>> photos.require_published()
        """
        if not self._handle.is_filled():
            self._handle.get()

    @property
    def info(self) -> StoreInfo:
        """Facts about the collection in the first store: model, count, options and where its images came from.

        Example:
            >>> photos.info.model.name, photos.info.count, photos.info.dataset
            ('efficientnet_lite0', 300, 'photos')
        """
        return self.store.info

    @property
    def embedder(self) -> Embedder:
        """The model that made the vectors; collections of one model share it."""
        self._embedder = shared_embedder(self.store, self._handle.opened(), self.settings)
        return self._embedder

    def search(
        self,
        image: QueryImage | None = None,
        *,
        text: Texts = (),
        like: Examples = (),
        unlike: Examples = (),
        unlike_text: Texts = (),
        limit: int = 10,
        offset: int = 0,
        filter: FilterInput = None,
        min_score: float | None = None,
        diversity: float = 0.0,
        group_by: str | None = None,
        group_size: int = 3,
        exact: bool = False,
        ef: int | None = None,
        nprobe: int | None = None,
    ) -> Hits:
        """Return the stored images most similar to an image, a text or examples. Stored examples are not among them.

        Example:
            >>> hits = photos.search("query.png", limit=2, filter="label=Smileys & Emotion")
            >>> [hit.label for hit in hits]
            ['Smileys & Emotion', 'Smileys & Emotion']
            >>> more = photos.search(like=[hits[0], hits[1]], unlike=["1F349"], diversity=0.3, limit=4)
            >>> len(more)
            4
            >>> len(photos.search("query.png", text=[("a red flag", 0.5)], unlike_text="a face"))
            10

        Args:
            image: What hits should resemble: the id or key of a stored image, a path, an http(s) URL, bytes, a PIL
                image, a uint8 array, a vector, or a hit.
            text: What hits should show, in words. This needs a model with a text tower.
            like: More examples as for `image`. The query is the mean of all texts and examples. An example may be a
                tuple with its weight, such as `("query.png", 0.5)`; without one the weight is 1.
            unlike: Examples that hits should not resemble.
            unlike_text: What hits should not show.
            limit: Maximum number of hits, or of groups.
            offset: Number of best hits, or groups, to skip.
            filter: Only images whose payload matches, such as `"label=Shoes|Boots and year>=2015"`.
            min_score: Minimum score of a hit.
            diversity: From 0 to 1; above 0, hits that differ from each other are preferred.
            group_by: Payload field to group the hits by.
            group_size: Maximum number of hits in a group.
            exact: Compare with every vector instead of using the graph or index.
            ef: Number of candidates that a graph search keeps.
            nprobe: Number of inverted lists to search.

        Raises:
            UsageError: There is no such image, field or option value, the vector has another dimension, the text is
                empty or too long, or the model has no text tower.
            ImageError: The image cannot be used.
            CbirError: The store failed.
        """
        clock = Clock()
        store = self.store
        if group_by:
            require_fields([group_by], store)
        first: list[tuple[QueryImage, float]] = [(image, 1.0)] if image is not None else []
        maker = ExampleMaker(store, self._handle.opened(), lambda: self.embedder, self.settings, clock)
        query = Query(
            maker.texts(weighted_texts(text)) + maker.images([*first, *weighted_images(like)]),
            maker.texts(weighted_texts(unlike_text)) + maker.images(weighted_images(unlike)),
            limit,
            offset,
            checked_filter(filter, store),
            min_score,
            diversity,
            group_by or "",
            group_size,
            SearchParams(ef, nprobe, exact),
        )
        with clock.stage("store"):
            found = search_groups(store, query) if group_by else [(None, search(store, query))]
        links = self._links(store)
        groups = [
            HitGroup(value, [Hit(hit.id, hit.payload, hit.score, **links) for hit in hits]) for value, hits in found
        ]
        return Hits([hit for group in groups for hit in group.hits], groups if group_by else (), clock.milliseconds)

    def embed(self, image: ImageInput, crop: Crop | None = None, clock: Clock | None = None) -> Vector:
        """Return the vector (D,), float32, of an image or of a part of it, from the collection's model.

        Example:
            >>> vector = photos.embed("query.png")
            >>> vector.shape, vector.dtype
            ((1280,), dtype('float32'))
            >>> photos.search(vector, limit=1)[0].key
            '1F600'

        Raises:
            UsageError: There is no such file.
            ImageError: The image cannot be used.
        """
        return embed(image, self.embedder, self.settings.max_image_megapixels, clock or Clock(), crop)

    def classify(
        self, labels: Sequence[str], *, template: str | None = None, filter: FilterInput = None
    ) -> list[ZeroShotLabel]:
        """Return for each image the one of some labels, in words, that fits it best, in the order of ids.

        Example:
            >>> found = photos.classify(["a face", "a flag"], template="{}")
            >>> len(found), found[0].label in ("a face", "a flag")
            (300, True)

        Args:
            labels: At least two labels.
            template: What a label is put into, such as `a photo of a {}`; None for that of the model's text tower.
            filter: Only images whose payload matches.

        Raises:
            UsageError: There are fewer than two labels, or the model has no text tower.
        """
        store = self.store
        texts = label_vectors(labels, template, self.embedder)
        chosen, scale = checked_filter(filter, store), self.embedder.text_tower.card.scale
        return list(classified(store, chosen, labels, texts, scale))

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

    def _links(self, store: Store) -> dict[str, Any]:
        """Return what stored images need to find their thumbnails and files."""
        return {"_load": store.thumbnails, "_source": self._handle.opened().source}
