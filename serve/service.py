"""The open collections and models of a server, which all requests share."""

import asyncio
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import ParamSpec, TypeVar

import numpy as np

from cbir.collection import Collection, optimize_all
from cbir.errors import ImageError
from cbir.images.preprocessing import Pixels
from cbir.models.embedder import Embedder, load_embedder
from cbir.models.sealed import DEFAULT_MODEL
from cbir.records import Vector
from cbir.search.examples import Clock
from cbir.sources.remote import Limits, fetch
from cbir.stores.registry import connect_all
from cbir.text import redacted

from .answering import Search, encoded
from .batching import Batcher
from .collections import OpenCollections
from .filling.model_files import ModelFiles
from .filling.opened import Fillings
from .metrics import Metrics
from .settings import ServeSettings

FETCH_SECONDS = 10.0
_BATCH = 8
_FETCHES = 16
_CALLS = 16

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class SharedModel:
    """A model whose runs concurrent requests share."""

    def __init__(self, embedder: Embedder):
        self.embedder = embedder
        self.images: Batcher[Pixels, Vector] = Batcher(self._run, _BATCH)
        self.texts: Batcher[str, Vector] = Batcher(lambda texts: list(embedder.embed_text(texts)), _BATCH)

    def _run(self, pixels: Sequence[Pixels]) -> list[Vector]:
        vectors = self.embedder.run(np.stack(pixels))
        if not np.isfinite(vectors).all():
            raise ImageError("the model returned a vector that is not finite")
        return list(vectors)

    def close(self) -> None:
        """Wait for the runs to end."""
        self.images.close()
        self.texts.close()


class Service:
    """Opens each collection and each model once, and runs in threads what would block the others.

    `calls` are short reads. Changes, which wait for each other, and long searches have threads of their own, so that
    they delay no others. `decoding` is as wide as the machine, and `fetching` waits for other servers.
    """

    def __init__(self, settings: ServeSettings):
        self.settings = settings
        self.catalogs = connect_all(settings.store_urls, settings)
        self.collections = OpenCollections(self.catalogs, settings)
        self.models = ModelFiles(self.catalogs, settings.cache)
        self.fillings = Fillings(self.catalogs, self.models, settings)
        self.metrics = Metrics(self.collections.facts, self.queues)
        self._models: dict[str, SharedModel] = {}
        self._lock = threading.Lock()
        self._packaged = cache(partial(load_embedder, DEFAULT_MODEL, settings))
        cores = os.cpu_count() or 1
        # More threads would wait for each other's Python code; a Qdrant server works for several at once.
        threads = 1 if self.catalogs[0].files is not None else _CALLS
        self.searches: Batcher[Search, bytes] = Batcher(partial(encoded, self.metrics), _BATCH, threads)
        self._calls = ThreadPoolExecutor(_CALLS, "cbir-call")
        self._changes = ThreadPoolExecutor(_CALLS, "cbir-change")
        self._long_searches = ThreadPoolExecutor(cores, "cbir-search")
        self._decoding = ThreadPoolExecutor(cores, "cbir-decode")
        self._fetching = ThreadPoolExecutor(_FETCHES, "cbir-fetch")

    async def call(
        self, function: Callable[Parameters, Result], *args: Parameters.args, **options: Parameters.kwargs
    ) -> Result:
        """Return what a function that may block for a moment returns; it runs in a thread."""
        return await _in(self._calls, partial(function, *args, **options))

    async def change(
        self, function: Callable[Parameters, Result], *args: Parameters.args, **options: Parameters.kwargs
    ) -> Result:
        """Return what a function that changes a collection returns; it may wait for other changes."""
        return await _in(self._changes, partial(function, *args, **options))

    async def long_searches(self, searches: Sequence[Search]) -> list[bytes]:
        """Return the answers to searches that may take long, as JSON."""
        return await _in(self._long_searches, partial(encoded, self.metrics, searches))

    async def collection(self, name: str) -> Collection:
        """Return the collection that a name stands for, or raise 404."""
        fresh = self.collections.fresh(name)
        return fresh if fresh is not None else await self.call(self.collections.open, name)

    @property
    def packaged_model(self) -> str:
        """The name of the model that embeds where there is no collection."""
        return DEFAULT_MODEL

    def default(self) -> str | None:
        """Return the collection published last, None if there is none."""
        names = self.catalogs[0].names()
        return names[0] if names else None

    def queues(self) -> Mapping[str, int]:
        """Return the number of items that wait for a thread, by what they wait for."""
        models = list(self._models.values())
        return {
            "search": self.searches.waiting,
            "image": sum(model.images.waiting for model in models),
            "text": sum(model.texts.waiting for model in models),
        }

    def model(self, collection: Collection | None) -> SharedModel:
        """Return the model of a collection, or the packaged one. It may have to be loaded."""
        embedder = collection.embedder if collection else self._packaged()
        with self._lock:
            found = self._models.get(embedder.sha256)
            if found is None:
                found = self._models[embedder.sha256] = SharedModel(embedder)
            return found

    async def embed_image(self, data: bytes, collection: Collection | None, clock: Clock) -> Vector:
        """Return the vector (D,) of an image file, by the model of a collection, or by the packaged one."""
        pixels, model = await _in(self._decoding, partial(self._pixels, data, collection, clock))
        with clock.stage("model"):
            return await model.images(pixels)

    async def embed_text(self, text: str, collection: Collection | None, clock: Clock) -> Vector:
        """Return the vector (D,) of a text, by the model of a collection, or by the packaged one."""
        model = await self.call(self.model, collection)
        with clock.stage("text model"):
            return await model.texts(text)

    async def file(self, image: bytes | None, url: str | None, clock: Clock) -> bytes:
        """Return an image file that is given, or else the one at the URL."""
        return image if image is not None else await self.fetch(str(url), clock)

    async def fetch(self, url: str, clock: Clock) -> bytes:
        """Return the image file at a URL. Only public addresses are fetched, unless the settings allow others."""
        with clock.stage("fetch"):
            return await _in(self._fetching, partial(self._fetched, url))

    def optimize_if_due(self, name: str) -> None:
        """Build the indexes of a collection again, in a thread, if there are many changes since they were built."""
        due = [catalog for catalog in self.catalogs if catalog.is_due(name)]
        if due:
            threading.Thread(target=optimize_all, args=(due, name), daemon=True).start()

    def close(self) -> None:
        """Finish what runs, and close the collections."""
        self.fillings.close()
        for pool in (self._fetching, self._decoding, self._changes, self._long_searches, self._calls):
            pool.shutdown()
        self.searches.close()
        for model in self._models.values():
            model.close()
        self.collections.close()

    def _pixels(self, data: bytes, collection: Collection | None, clock: Clock) -> tuple[Pixels, SharedModel]:
        model = self.model(collection)
        with clock.stage("decode"):
            image = model.embedder.decode(data, self.settings.max_image_megapixels)
        with clock.stage("preprocess"):
            return model.embedder.pixels(image), model

    def _fetched(self, url: str) -> bytes:
        largest = int(self.settings.max_body_megabytes * 2**20)
        limits = Limits(largest, FETCH_SECONDS, private=self.settings.allow_private_addresses)
        try:
            return fetch(url, limits)
        except ImageError as error:
            raise ImageError(f"{redacted(url)}: {error}") from None


async def _in(pool: ThreadPoolExecutor, function: Callable[[], Result]) -> Result:
    """Return what a function returns in a thread of a pool."""
    return await asyncio.get_running_loop().run_in_executor(pool, function)
