"""Examples of a query, from what a user has: an id, a key, a file, a URL, an image, a vector or a text."""

import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from cbir.errors import CbirError, ImageError, UsageError
from cbir.images.crop import Crop
from cbir.images.inputs import ImageInput, to_rgb
from cbir.images.libraries import warn_of_others
from cbir.models.embedder import Embedder, load_embedder
from cbir.models.sealed import find_model, find_unchanged
from cbir.records import Entry, Vector, point_id
from cbir.search.query import Example, Weighted
from cbir.settings import Settings
from cbir.stores.base import Store, StoreInfo
from cbir.text import redacted

QueryImage = ImageInput | npt.NDArray[np.floating] | Entry
"""An id, a key, a path, an http(s) URL, bytes, a PIL image, uint8 pixels, a vector (D,), a stored image or a hit."""

Examples = QueryImage | tuple[QueryImage, float] | Sequence[QueryImage | tuple[QueryImage, float]]
"""One example or several: ids, keys, paths, URLs, bytes, PIL images, arrays, vectors, or hits.

An example with a weight is a tuple; the weight of any other is 1.
"""

Texts = str | tuple[str, float] | Sequence[str | tuple[str, float]]
"""One text or several; a text with a weight is a tuple."""

_embedders: weakref.WeakValueDictionary[tuple[str, Path | None, str], Embedder] = weakref.WeakValueDictionary()
"""Those in use, by the SHA-256 of the model, and the file of the text tower and the device in the settings."""
_loading = threading.Lock()


@dataclass
class Clock:
    """Milliseconds by stage."""

    milliseconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to a stage."""
        start = time.perf_counter()
        yield
        self.milliseconds[name] = self.milliseconds.get(name, 0.0) + (time.perf_counter() - start) * 1000


def shared_embedder(store: Store, info: StoreInfo, settings: Settings) -> Embedder:
    """Return the embedder of the collection's model file, or of the packaged one.

    Collections of one model share it if their settings name the same text tower and device. Raise `UsageError` if there
    is no such model file, or it did not make the collection's vectors.
    """
    wanted = info.model
    warn_of_others(info.collection, wanted.libraries)
    with _loading:
        key = (wanted.sha256, settings.text_model, settings.device)
        embedder = _embedders.get(key)
        if embedder is None:
            embedder = load_embedder(store.model() or find_unchanged(wanted) or find_model(wanted.name), settings)
            if embedder.sha256 != wanted.sha256:
                raise UsageError(
                    f"collection {info.collection} was made by another {wanted.name} (SHA-256"
                    f" {wanted.sha256[:12]}) than {embedder.path} ({embedder.sha256[:12]}): ingest it again"
                )
            _embedders[key] = embedder
        return embedder


def is_id(value: object) -> bool:
    """Return True for a point's id as cbir writes it; the value may be anything, for example from a browser."""
    try:
        return isinstance(value, str) and str(uuid.UUID(value)) == value
    except ValueError:
        return False


def embed(
    image: ImageInput, embedder: Embedder, max_megapixels: float, clock: Clock, crop: Crop | None = None
) -> Vector:
    """Return the vector (D,) of an image or of a part of it."""
    with clock.stage("decode"):
        if crop is None:
            rgb = to_rgb(image, embedder.shortest, max_megapixels)
        else:  # decoded at full size, since the part may be small
            rgb = crop.of(to_rgb(image, max_megapixels=max_megapixels))
    with clock.stage("preprocess"):
        pixels = embedder.pixels(rgb)[None]
    with clock.stage("model"):
        vector: Vector = embedder.run(pixels)[0]
    if not np.isfinite(vector).all():
        raise ImageError("the model returned a vector that is not finite")
    return vector


def weighted_images(examples: Examples) -> list[tuple[QueryImage, float]]:
    """Return examples with their weights."""
    return _weighted(examples)


def weighted_texts(texts: Texts) -> list[tuple[str, float]]:
    """Return texts with their weights."""
    return _weighted(texts)


def _weighted(examples: Any) -> list[tuple[Any, float]]:
    """Return examples with their weights; a single one may be given without a list."""
    several = isinstance(examples, Sequence) and not isinstance(examples, str | bytes) and not _has_weight(examples)
    return [example if _has_weight(example) else (example, 1.0) for example in (examples if several else [examples])]


def _has_weight(example: object) -> bool:
    if not isinstance(example, tuple) or len(example) != 2:
        return False
    return isinstance(example[1], int | float | np.floating | np.integer) and not isinstance(example[1], bool)


def embed_text(texts: Sequence[str], embedder: Embedder, clock: Clock) -> Vector:
    """Return the vectors (n, D) of texts."""
    tower = embedder.text_tower  # loaded at the first use
    with clock.stage("text model"):
        vectors = tower.embed(texts)
    if not np.isfinite(vectors).all():
        raise CbirError("the text tower returned a vector that is not finite")
    return vectors


@dataclass(frozen=True)
class ExampleMaker:
    """Makes examples of a query on one collection. `load` returns its embedder, which many queries do not need."""

    store: Store
    info: StoreInfo
    load: Callable[[], Embedder]
    settings: Settings
    clock: Clock

    def texts(self, texts: Sequence[tuple[str, float]]) -> list[Weighted]:
        """Return the vectors of texts with their weights."""
        if not texts:
            return []
        vectors = embed_text([text for text, _ in texts], self.load(), self.clock)
        return [(vector, weight) for vector, (_, weight) in zip(vectors, texts, strict=True)]

    def images(self, images: Sequence[tuple[QueryImage, float]]) -> list[Weighted]:
        """Return the ids of stored images and the vectors of others, with their weights."""
        return [(self.image(image), weight) for image, weight in images]

    def image(self, image: QueryImage) -> Example:
        """Return the id of a stored image, or the vector of another one.

        A text is an id, a URL, the path of a file or the key of a stored image, tried in this order.
        """
        if isinstance(image, Entry):
            return image.id
        if isinstance(image, np.ndarray) and image.dtype != np.uint8:
            if image.dtype.kind != "f":
                raise UsageError(f"an array of {image.dtype} is neither an image (uint8) nor a vector (float32)")
            return _unit(image, self.info.model.dimension)
        if isinstance(image, str):
            if is_id(image):
                return image
            if image.lower().startswith(("http://", "https://")):
                image = _fetched(image, self.settings, self.clock)
            elif not _is_file(image):
                return _stored_id(image, self.store, self.info)
        return embed(cast(ImageInput, image), self.load(), self.settings.max_image_megapixels, self.clock)


def to_ids(names: Sequence[str], dataset: str) -> list[str]:
    """Return the ids of stored images of a data set, for ids or keys."""
    if isinstance(names, str):
        raise UsageError("give a list of ids or keys, not a single text")
    for name in names:
        if not isinstance(name, str):
            raise UsageError(f"{type(name).__name__} is not an id or key; use hit.id for a hit")
    return [name if is_id(name) else point_id(dataset, name) for name in names]


def _fetched(url: str, settings: Settings, clock: Clock) -> bytes:
    from cbir.sources.remote import Limits, fetch  # slow to import, and few queries need it

    with clock.stage("fetch"):
        try:
            return fetch(url, Limits(private=settings.allow_private_addresses))
        except ImageError as error:
            raise ImageError(f"{redacted(url)}: {error}") from None


def _is_file(text: str) -> bool:
    try:
        return Path(text).expanduser().exists()
    except (OSError, RuntimeError, ValueError):  # too long, an invalid character, or an unknown user
        return False


def _stored_id(key: str, store: Store, info: StoreInfo) -> str:
    found = point_id(info.dataset, key)
    if store.payloads([found]) == [None]:
        raise UsageError(f"{key!r} is not a file, and collection {info.collection} has no image with this key")
    return found


def _unit(vector: npt.NDArray[np.floating] | npt.NDArray[np.uint8], dimension: int) -> Vector:
    if vector.shape != (dimension,):
        raise UsageError(f"the query has shape {vector.shape}, the collection's vectors have {dimension} dimensions")
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length) or not length:
        raise UsageError("the query vector is zero, or has values that are not finite")
    return np.asarray(vector / length, np.float32)
