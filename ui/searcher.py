"""One collection and the model that made its vectors, joined: a picture or a stored point in, its neighbours out."""

import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cbir.errors import UsageError
from cbir.model import Embedder, find_model
from cbir.queries import diverse, example_query, recommend
from cbir.records import Hit, Vector
from cbir.stores import Store, StoreInfo

_embedders: weakref.WeakValueDictionary[str, Embedder] = weakref.WeakValueDictionary()
_loading = threading.Lock()


class NotHereError(UsageError):
    """The collection has no point of that id."""


@dataclass(frozen=True)
class Embedded:
    """A picture's (1, D) vector, the SHA-256 of the model that made it, and the milliseconds each stage took."""

    vectors: Vector
    model: str
    milliseconds: dict[str, float]


@dataclass(frozen=True)
class Answer:
    """What a search found.

    Attributes:
        hits: By score downwards.
        milliseconds: What each stage took; a stored point needs no stage but `store`.
        itself: The stored point that was asked about, if the search came upon it.
    """

    hits: list[Hit]
    milliseconds: dict[str, float]
    itself: Hit | None = None


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

    def embed(self, data: bytes) -> Embedded:
        """Return the vector of an image file.

        Raises:
            ImageError: The bytes are no image that can be used.
        """
        clock = _Clock()
        with clock.stage("decode"):
            image = self.embedder.decode(data, self.max_megapixels)
        with clock.stage("preprocess"):
            pixels = self.embedder.pixels(image)[None]
        with clock.stage("model"):
            vectors = self.embedder.run(pixels)
        return Embedded(vectors, self.embedder.sha256, clock.milliseconds)

    def by_embedded(self, embedded: Embedded, k: int, *, exact: bool = False) -> Answer:
        """Return the at most k pictures most similar to one that this searcher's model has embedded.

        Raises:
            CbirError: The store failed.
        """
        clock = _Clock(dict(embedded.milliseconds))
        with clock.stage("store"):
            hits = self._hits(embedded.vectors, k, exact)
        return Answer(hits, clock.milliseconds)

    def by_id(self, point_id: str, k: int, *, exact: bool = False) -> Answer:
        """Return the at most k pictures most similar to a stored one, itself left out.

        Raises:
            NotHereError: The collection has no such point.
            CbirError: The store failed.
        """
        clock = _Clock()
        with clock.stage("store"):
            (vector,) = self.store.vectors([point_id])
            if vector is None:
                raise NotHereError(f"collection {self.opened.collection} has no picture with the id {point_id}")
            found = self._hits(vector[None], k + 1, exact)
        others = [hit for hit in found if hit.id != point_id]
        itself = next((hit for hit in found if hit.id == point_id), None)
        return Answer(others[:k], clock.milliseconds, itself)

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
            diversity: Above 0, hits that are unlike each other are preferred (see `cbir.queries.diverse`).
            how: As for `cbir.stores.Store.search`.

        Raises:
            UsageError: An example is not there, or an option has a value that it cannot have.
            CbirError: The store failed.
        """
        clock = _Clock()
        with clock.stage("store"):
            if diversity:
                examples = {one for one in (*positives, *negatives) if isinstance(one, str)}
                query = example_query(self.store, positives, negatives)
                found = diverse(self.store, query, k + len(examples), diversity, **how)
                hits = [hit for hit in found if hit.id not in examples][:k]
            else:
                hits = recommend(self.store, positives, negatives, k, **how)
        return Answer(hits, clock.milliseconds)

    def _hits(self, vectors: Vector, k: int, exact: bool) -> list[Hit]:
        return self.store.search(vectors, k, exact=exact)[0]


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
