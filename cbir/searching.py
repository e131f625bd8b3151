"""The searching half of a collection: the open store, its model, and searches."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cbir.filters.conditions import Filter
from cbir.images.crop import Crop
from cbir.images.inputs import ImageInput
from cbir.models.embedder import Embedder
from cbir.records import Hit as StoredHit
from cbir.records import Vector
from cbir.results import Hit, HitGroup, Hits
from cbir.search.examples import (
    Clock,
    ExampleMaker,
    Examples,
    QueryImage,
    Texts,
    embed,
    shared_embedder,
    weighted_images,
    weighted_texts,
)
from cbir.search.fields import checked_filter, require_fields
from cbir.search.query import Query, search, search_each, search_groups
from cbir.search.zero_shot import ZeroShotLabel, classified, label_vectors
from cbir.settings import Settings
from cbir.stores.base import Catalog, SearchParams, Store, StoreInfo
from cbir.stores.handle import StoreHandle
from cbir.text import redacted

FilterInput = str | Filter | None
"""A filter as text, such as `label=Shoes|Boots and year>=2015`, or a parsed one."""


class CollectionSearcher:
    """A collection that is searched. Safe to share between threads.

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

    @property
    def store(self) -> Store:
        """The open store of the generation published last."""
        return self._handle.get()

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
        expand: int = 0,
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
            expand: Search a second time, with the mean of the query and this many of its hits (query expansion).
            diversity: From 0 to 1; above 0, hits that differ from each other are preferred. Not with `group_by`.
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
        maker = self._maker(store, clock)
        query = Query(
            maker.texts(weighted_texts(text)) + maker.images([*first, *weighted_images(like)]),
            maker.texts(weighted_texts(unlike_text)) + maker.images(weighted_images(unlike)),
            limit,
            offset,
            checked_filter(filter, store),
            min_score,
            expand,
            diversity,
            group_by or "",
            group_size,
            SearchParams(ef, nprobe, exact),
        )
        with clock.stage("store"):
            found = search_groups(store, query) if group_by else [(None, search(store, query))]
        linked = self._linked(store)
        groups = [HitGroup(value, linked(hits)) for value, hits in found]
        return Hits([hit for group in groups for hit in group.hits], groups if group_by else (), clock.milliseconds)

    def search_batch(
        self,
        images: Sequence[QueryImage],
        *,
        limit: int = 10,
        filter: FilterInput = None,
        min_score: float | None = None,
        exact: bool = False,
        ef: int | None = None,
        nprobe: int | None = None,
    ) -> list[Hits]:
        """Return the hits of several images, each as `search` does, in one call of the engine: faster than one by one.

        Example:
            >>> first, second = photos.search_batch(["query.png", "1F349"], limit=3)
            >>> first[0].key == photos.search("query.png", limit=3)[0].key, len(second)
            (True, 3)

        Args:
            images: Images as for `search`; their order is that of the results.
            limit: Maximum number of hits of each image.
            filter: As for `search`.
            min_score: As for `search`.
            exact: As for `search`.
            ef: As for `search`.
            nprobe: As for `search`.

        Raises:
            UsageError: There is no such image, field or option value.
            ImageError: An image cannot be used.
            CbirError: The store failed.
        """
        clock = Clock()
        store = self.store
        maker = self._maker(store, clock)
        examples = [maker.image(image) for image in images]
        params = SearchParams(ef, nprobe, exact)
        query = Query((), limit=limit, filter=checked_filter(filter, store), min_score=min_score, params=params)
        with clock.stage("store"):
            found = search_each(store, examples, query)
        linked = self._linked(store)
        return [Hits(linked(hits), (), clock.milliseconds) for hits in found]

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

    def _maker(self, store: Store, clock: Clock) -> ExampleMaker:
        return ExampleMaker(store, self._handle.opened(), lambda: self.embedder, self.settings, clock)

    def _linked(self, store: Store) -> Callable[[Sequence[StoredHit]], list[Hit]]:
        """Return what makes hits of a store those of a user, which have thumbnails and files."""
        links = self._links(store)
        return lambda hits: [Hit(hit.id, hit.payload, hit.score, **links) for hit in hits]

    def _links(self, store: Store) -> dict[str, Any]:
        """Return what stored images need to find their thumbnails and files."""
        return {"_load": store.thumbnails, "_source": self._handle.opened().source}
