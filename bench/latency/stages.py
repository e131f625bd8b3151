"""Where the time of one question goes: from an image file to hits, stage by stage."""

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

PICTURES = 60


@dataclass(frozen=True)
class Stages:
    """One store: medians in milliseconds over pictures of the collection, each asked on its own, and their shares.

    Attributes:
        parts_ms: What `embedding_ms` consists of: "decode", "preprocess", "model".
        transport_ms: Fetching one point's payload from a server, which is the way there and back and little else;
            None for an embedded store, which is in the process.
        search_ms: The engine's own call; for a server the rest of the answer's time.
        protocol_ms: What the store protocol adds to an engine's own call; None for a server.
    """

    store: str
    pictures: int
    embedding_ms: float
    parts_ms: dict[str, float]
    transport_ms: float | None
    search_ms: float
    protocol_ms: float | None
    shares: dict[str, float]


def measure(workload: Workload, settings: Settings) -> list[Stages]:
    """Return where the time goes with each store; nothing if the collection carries no model or no thumbnails."""
    model = workload.stores[0].model()
    ids = list(workload.queries[:PICTURES])
    if model is None:
        return []
    embedder = load_embedder(model, settings, threads=cores())
    spent: dict[str, list[float]] = {"decode": [], "preprocess": [], "model": []}
    for data in filter(None, workload.stores[0].thumbnails(ids)):
        decode = partial(embedder.decode, data, settings.max_image_megapixels)
        with suppress(ImageError):
            pixels = embedder.pixels(image := decode())[None]
            embedder.run(pixels)  # a session's first run makes its plans
            spent["decode"].append(timed(decode))
            spent["preprocess"].append(timed(partial(embedder.pixels, image)))
            spent["model"].append(timed(partial(embedder.run, pixels)))
    pictures = len(spent["model"])
    if not pictures:
        return []
    parts = {name: float(np.median(values)) for name, values in spent.items()}
    return [_stages(workload, store, ids, parts, pictures) for store in workload.stores]


def _stages(workload: Workload, store: Store, ids: list[str], parts: dict[str, float], pictures: int) -> Stages:
    embedding = sum(parts.values())
    vectors = workload.vectors[:PICTURES]
    whole = float(np.median([timed(partial(store.search, one[None], workload.k)) for one in vectors]))
    transport = protocol = None
    calls = [call for one in vectors if (call := bare_search(store, one, workload.k))]
    if calls:
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
