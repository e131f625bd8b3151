"""Where the time of one question goes: from an image file to hits, stage by stage."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from cbir.errors import ImageError
from cbir.models.sealed import Embedder, cores
from cbir.settings import Settings
from cbir.stores.base import EmbeddedStore, Store

from ..core.workload import Subject
from ..latency.measure import timed

PICTURES = 60


@dataclass(frozen=True)
class Stages:
    """One store: medians in milliseconds over pictures of the collection, each asked on its own, and their shares.

    Attributes:
        store: Its URL.
        pictures: How many were asked: the thumbnails of as many queries.
        embedding_ms: Decoding, preprocessing and the model.
        parts_ms: What `embedding_ms` consists of: "decode", "preprocess", "model".
        transport_ms: Fetching one point's payload from a server, which is the way there and back and little else;
            None for an embedded store, which is in the process.
        search_ms: The engine's own call; for a server the rest of the answer's time.
        protocol_ms: What the store protocol adds to an engine's own call; None for a server.
        shares: Of the whole, by what it is spent on.
    """

    store: str
    pictures: int
    embedding_ms: float
    parts_ms: dict[str, float]
    transport_ms: float | None
    search_ms: float
    protocol_ms: float | None
    shares: dict[str, float]


def measure(subject: Subject, settings: Settings) -> list[Stages]:
    """Return where the time goes with each store; nothing if the collection carries no model or no thumbnails."""
    model = subject.stores[0].model()
    ids = list(subject.queries[:PICTURES])
    if model is None:
        return []
    embedder = Embedder(model, threads=cores())
    pictures = [data for data in subject.stores[0].thumbnails(ids) if data and _is_image(data, embedder, settings)]
    if not pictures:
        return []
    spent: dict[str, list[float]] = {"decode": [], "preprocess": [], "model": []}
    vectors = []
    for data in (pictures[0], *pictures):  # the first one twice: a session's first run makes its plans
        image = embedder.decode(data, settings.max_image_megapixels)
        pixels = embedder.pixels(image)[None]
        vectors.append(embedder.run(pixels))
        spent["decode"].append(timed(partial(embedder.decode, data, settings.max_image_megapixels)))
        spent["preprocess"].append(timed(partial(embedder.pixels, image)))
        spent["model"].append(timed(partial(embedder.run, pixels)))
    parts = {name: float(np.median(values[1:])) for name, values in spent.items()}
    return [_stages(subject, store, ids, parts, len(pictures)) for store in subject.stores]


def _is_image(data: bytes, embedder: Embedder, settings: Settings) -> bool:
    try:
        embedder.decode(data, settings.max_image_megapixels)
    except ImageError:
        return False
    return True


def _stages(subject: Subject, store: Store, ids: list[str], parts: dict[str, float], pictures: int) -> Stages:
    embedding = sum(parts.values())
    vectors = subject.vectors[:PICTURES]
    whole = float(np.median([timed(partial(store.search, one[None], subject.k)) for one in vectors]))
    transport = protocol = None
    if isinstance(store, EmbeddedStore):
        calls = [store.index.raw(one, subject.k) for one in vectors]
        search = min(whole, float(np.median([timed(call) for call in calls])))
        protocol = whole - search
    else:
        transport = min(whole, float(np.median([timed(partial(store.payloads, [one])) for one in ids])))
        search = whole - transport
    named = {"embedding": embedding, "transport": transport, "search": search, "protocol": protocol}
    known = {name: value for name, value in named.items() if value is not None}
    total = sum(known.values())
    shares = {name: value / total for name, value in known.items()}
    return Stages(store.info.url, pictures, embedding, parts, transport, search, protocol, shares)
