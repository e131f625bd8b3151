"""How the time of a search from an image file to hits is divided."""

from collections.abc import Callable, Iterable
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
    """One store: medians in milliseconds over images of the collection, searched one by one.

    Attributes:
        milliseconds: "decode", "preprocess" and "model"; "transport", which is fetching one point's payload from a
            server and hardly more than a round trip; "engine", the engine's own call, or the rest of a server's time;
            and "protocol", which the store protocol adds to that call of an embedded engine.
        embedding_share: Of the first three in the whole time.
    """

    store: str
    images: int
    milliseconds: dict[str, float]
    embedding_share: float


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
    total = _median(partial(store.search, vector[None], workload.k) for vector in vectors)
    if calls := [call for vector in vectors if (call := bare_search(store, vector, workload.k))]:
        engine = min(total, _median(calls))
        rest = {"protocol": total - engine}
    else:
        transport = min(total, _median(partial(store.payloads, [id_]) for id_ in ids))
        engine, rest = total - transport, {"transport": transport}
    embedding = sum(parts.values())
    return Stages(store.info.url, images, {**parts, "engine": engine, **rest}, embedding / (embedding + total))


def _median(calls: Iterable[Callable[[], object]]) -> float:
    return float(np.median([timed(call) for call in calls]))
