"""How the time of a search from an image file to hits is divided."""

from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np

from cbir.errors import ImageError
from cbir.models.embedder import load_embedder
from cbir.models.runtime import cores
from cbir.settings import Settings
from cbir.stores.base import Store

from ..core.stores import bare_search
from ..core.timing import timed
from ..core.workload import Workload

IMAGES = 60


@dataclass(frozen=True)
class Stages:
    """One store: medians in milliseconds over images of the collection, searched one by one, and their shares.

    Attributes:
        parts_ms: The parts of `embedding_ms`: "decode", "preprocess", "model".
        transport_ms: Fetching one point's payload from a server, which is hardly more than a round trip; None for an
            embedded store.
        search_ms: The engine's own call; for a server the rest of its time.
        protocol_ms: What the store protocol adds to the engine's own call; None for a server.
    """

    store: str
    images: int
    embedding_ms: float
    parts_ms: dict[str, float]
    transport_ms: float | None
    search_ms: float
    protocol_ms: float | None
    shares: dict[str, float]


def measure(workload: Workload, settings: Settings) -> list[Stages]:
    """Return the stages of each store; nothing if the collection has no model or no thumbnails."""
    model = workload.stores[0].model()
    ids = list(workload.queries[:IMAGES])
    if model is None:
        return []
    embedder = load_embedder(model, settings, threads=cores())
    spent: dict[str, list[float]] = {"decode": [], "preprocess": [], "model": []}
    for data in filter(None, workload.stores[0].thumbnails(ids)):
        decode = partial(embedder.decode, data, settings.max_image_megapixels)
        with suppress(ImageError):
            pixels = embedder.pixels(image := decode())[None]
            embedder.run(pixels)  # the first run of a session is slow
            spent["decode"].append(timed(decode))
            spent["preprocess"].append(timed(partial(embedder.pixels, image)))
            spent["model"].append(timed(partial(embedder.run, pixels)))
    images = len(spent["model"])
    if not images:
        return []
    parts = {name: float(np.median(values)) for name, values in spent.items()}
    return [_stages(workload, store, ids, parts, images) for store in workload.stores]


def _stages(workload: Workload, store: Store, ids: list[str], parts: dict[str, float], images: int) -> Stages:
    vectors = workload.vectors[:IMAGES]
    total = float(np.median([timed(partial(store.search, vector[None], workload.k)) for vector in vectors]))
    transport = protocol = None
    calls = [call for vector in vectors if (call := bare_search(store, vector, workload.k))]
    if calls:
        search = min(total, float(np.median([timed(call) for call in calls])))
        protocol = total - search
    else:
        transport = min(total, float(np.median([timed(partial(store.payloads, [id_])) for id_ in ids])))
        search = total - transport
    embedding = sum(parts.values())
    named = {"embedding": embedding, "transport": transport, "search": search, "protocol": protocol}
    shares = {name: value / (embedding + total) for name, value in named.items() if value is not None}
    return Stages(store.info.url, images, embedding, parts, transport, search, protocol, shares)
