"""One collection and the model that made its vectors, joined: a picture or a stored point in, its neighbours out."""

import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from PIL.Image import Image

from cbir.errors import UsageError
from cbir.images.decode import decode
from cbir.models.sealed import Embedder, find_model
from cbir.records import Hit, Vector
from cbir.search.query import Group, diverse, example_query, grouped, recommend
from cbir.stores.base import Store, StoreInfo

_embedders: weakref.WeakValueDictionary[str, Embedder] = weakref.WeakValueDictionary()
_loading = threading.Lock()
_NEAREST = 10
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Crop:
    """A part of a picture, in percent of its width and height from the left and from the top."""

    left: int
    top: int
    right: int
    bottom: int

    def __post_init__(self) -> None:
        if not (0 <= self.left < self.right <= 100 and 0 <= self.top < self.bottom <= 100):
            raise UsageError(f"{self} is no part of a picture")

    def of(self, image: Image) -> Image:
        """Return that part, at least one pixel, of a picture."""
        width, height = image.size
        left, top = self.left * width // 100, self.top * height // 100
        right, bottom = -(-self.right * width // 100), -(-self.bottom * height // 100)
        return image.crop((left, top, right, bottom))


@dataclass(frozen=True)
class Embedded:
    """A picture's (1, D) vector, and the milliseconds each stage took."""

    vectors: Vector
    milliseconds: dict[str, float]


@dataclass(frozen=True)
class Answer:
    """What a search found.

    Attributes:
        hits: By score downwards.
        milliseconds: What each stage took; a stored point needs no stage but `store`.
        groups: The same hits by the value of a field, if that was asked for.
    """

    hits: list[Hit]
    milliseconds: dict[str, float]
    groups: list[Group] = field(default_factory=list)


@dataclass(frozen=True)
class Searcher:
    """An opened store and the embedder of its model. Safe to share between threads.

    Attributes:
        store: The store.
        opened: What the store said of itself when it was opened; a server's counts change afterwards.
        embedder: What makes vectors for it.
        max_megapixels: Size of the largest picture that is taken.
    """

    store: Store
    opened: StoreInfo
    embedder: Embedder
    max_megapixels: float

    @property
    def key(self) -> Key:
        """What tells this collection's generation from all others."""
        return self.opened.url, self.opened.collection, self.opened.generation

    def embed(self, data: bytes, crop: Crop | None = None) -> Embedded:
        """Return the vector of an image file, or of a part of it.

        Raises:
            ImageError: The bytes are no image that can be used.
        """
        clock = _Clock()
        with clock.stage("decode"):
            if crop is None:
                image = self.embedder.decode(data, self.max_megapixels)
            else:  # at full size: what is left may be small
                image = crop.of(decode(data, max_megapixels=self.max_megapixels))
        with clock.stage("preprocess"):
            pixels = self.embedder.pixels(image)[None]
        with clock.stage("model"):
            vectors = self.embedder.run(pixels)
        return Embedded(vectors, clock.milliseconds)

    def by_examples(
        self,
        positives: Sequence[str | Vector],
        negatives: Sequence[str | Vector],
        k: int,
        diversity: float = 0.0,
        **how: Any,
    ) -> Answer:
        """Return the at most k pictures that are like some examples and unlike others, none of them among the hits.

        Args:
            positives: Ids of stored pictures, or vectors (D,); at least one.
            negatives: The same; may be none.
            k: How many.
            diversity: Above 0, hits that are unlike each other are preferred (see `cbir.search.query.diverse`).
            how: As for `cbir.stores.base.Store.search`.

        Raises:
            UsageError: An example is not there, or an option has a value that it cannot have.
            CbirError: The store failed.
        """
        clock = _Clock()
        with clock.stage("store"):
            if diversity:
                examples = {one for one in (*positives, *negatives) if isinstance(one, str)}
                query = example_query(self.store, positives, negatives)
                hits = diverse(self.store, query, k, diversity, without=examples, **how)
            else:
                hits = recommend(self.store, positives, negatives, k, **how)
        return Answer(hits, clock.milliseconds)

    def by_groups(
        self,
        positives: Sequence[str | Vector],
        negatives: Sequence[str | Vector],
        field: str,
        groups: int,
        size: int,
        **how: Any,
    ) -> Answer:
        """Return the best hits of the values of a payload field, those of `groups` values, at most `size` of each.

        Raises:
            UsageError: An example is not there.
            CbirError: The store failed.
        """
        clock = _Clock()
        with clock.stage("store"):
            query = example_query(self.store, positives, negatives)
            examples = {one for one in (*positives, *negatives) if isinstance(one, str)}
            found = [
                Group(group.value, [hit for hit in group.hits if hit.id not in examples][:size])
                for group in grouped(self.store, query, field, groups, size + len(examples), **how)
            ]
        return Answer([hit for group in found for hit in group.hits], clock.milliseconds, found)

    def copies(self, sha256: str, embedded: Embedded, hits: Sequence[Hit]) -> list[Hit]:
        """Return the stored pictures with these very bytes: among the hits, or else what is nearest without filter.

        Raises:
            CbirError: The store failed.
        """
        same = [hit for hit in hits if hit.payload.get("sha256") == sha256]
        if same:
            return same
        nearest = self.store.search(embedded.vectors, _NEAREST)[0]
        return [hit for hit in nearest if hit.payload.get("sha256") == sha256]


def join(store: Store, max_megapixels: float) -> Searcher:
    """Return the searcher for an opened store, with the model file that it carries or else the packaged one.

    Raises:
        UsageError: There is no such model file, or it is not the one that made the collection's vectors.
        CbirError: The model file is damaged.
    """
    info = store.info
    return Searcher(store, info, _embedder_for(store, info), max_megapixels)


def _embedder_for(store: Store, info: StoreInfo) -> Embedder:
    """Return the store's embedder; stores of one model share one, which goes when the last of them goes."""
    wanted = info.model
    with _loading:
        embedder = _embedders.get(wanted.sha256)
        if embedder is None:
            embedder = Embedder(store.model() or find_model(wanted.name))
            if embedder.sha256 != wanted.sha256:
                raise UsageError(
                    f"collection {info.collection} was made by another {wanted.name} (SHA-256"
                    f" {wanted.sha256[:12]}) than {embedder.path} ({embedder.sha256[:12]}): ingest it again"
                )
            _embedders[wanted.sha256] = embedder
        return embedder


@dataclass
class _Clock:
    """Milliseconds by stage."""

    milliseconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.milliseconds[name] = (time.perf_counter() - start) * 1000
