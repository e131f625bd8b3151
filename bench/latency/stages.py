"""How the time of a search from an image file to hits is divided."""

from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np

import cbir
from cbir.errors import ImageError, UsageError
from cbir.settings import Settings
from cbir.tables import Column

from ..core.stores import bare_search
from ..core.timing import timed
from ..core.workload import Workload

IMAGES = 60
_STAGES = ("decode", "preprocess", "model", "transport", "engine", "protocol")


@dataclass(frozen=True)
class Stages:
    """Median milliseconds over images of the collection, searched one by one; embedding is the first three stages.

    "transport" is fetching one point's payload from a server, which is hardly more than a round trip, and "engine" the
    rest of a server's time, or the call of an embedded engine, to which "protocol" is what cbir adds.
    """

    images: int
    milliseconds: Annotated[dict[str, float], [(Column(name, "ms", ".3g"), name) for name in _STAGES]]
    embedding_share: Annotated[float, Column("embedding", format=".0%")]


def measure(workload: Workload, index: int, settings: Settings) -> Stages | None:
    """Return the stages of the store number `index`; None without the model that made it, or thumbnails."""
    info, store = workload.infos[index], workload.stores[index]
    ids = store.sample(IMAGES, workload.seed)
    spent: list[dict[str, float]] = []
    with closing(cbir.open(info.url, info.collection, settings=settings)) as collection:
        for data in filter(None, store.thumbnails(ids)):
            with suppress(ImageError, UsageError):
                collection.search(data, limit=workload.k)  # the first run of a session is slow
                spent.append(dict(collection.search(data, limit=workload.k).milliseconds))
    if not spent:
        return None
    parts = {name: float(np.median([each[name] for each in spent])) for name in spent[0]}
    total = parts.pop("store")
    if calls := [call for vector in workload.vectors[:IMAGES] if (call := bare_search(store, vector, workload.k))]:
        engine = min(total, _median(calls))
        rest = {"engine": engine, "protocol": total - engine}
    else:
        transport = min(total, _median(partial(store.payloads, [id_]) for id_ in ids))
        rest = {"engine": total - transport, "transport": transport}
    embedding = sum(parts.values())
    return Stages(len(spent), parts | rest, embedding / (embedding + total))


def _median(calls: Iterable[Callable[[], object]]) -> float:
    return float(np.median([timed(call) for call in calls]))
