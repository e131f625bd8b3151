"""A store of cbir as a candidate: one process that speaks as `search_worker` does."""

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cbir.settings import Settings
from cbir.stores.base import SearchParams
from cbir.stores.embedded.build import peak_memory
from cbir.stores.registry import open_store

from ..core.measured_process import apart
from ..core.stores import location_of, rebuild
from .search_worker import Search, claim_output, serve


def _build(vectors: Any, job: dict[str, Any]) -> Search:
    url, collection = job["url"], job["collection"]
    job["build_seconds"], job["build_megabytes"] = None, None
    if location_of(url):
        job["build_seconds"], job["build_megabytes"] = apart(_rebuild, url, collection, job["folder"])
    store = open_store(url, collection, Settings())
    position = {point_id: index for index, point_id in enumerate(json.loads(Path(job["ids"]).read_text()))}

    def search(vector: Any, k: int, ef: int | None) -> Sequence[int]:
        return [position[hit.id] for hit in store.search(vector[None], k, params=SearchParams(ef))[0]]

    return search


def _rebuild(url: str, collection: str, folder: str) -> tuple[float, float]:
    with tempfile.TemporaryDirectory(dir=folder) as target:
        seconds = rebuild(url, collection, Path(target) / "index", Settings())
    return seconds, peak_memory() / 1e6


if __name__ == "__main__":
    claim_output()
    serve(json.loads(sys.argv[1]), _build)
