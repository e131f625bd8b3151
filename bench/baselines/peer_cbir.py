"""A store of cbir as a candidate beside other search libraries: one process, the same conversation (`peer_search`)."""

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cbir.index.memory import peak_memory
from cbir.settings import load_settings
from cbir.stores.base import ENGINE_KINDS, EmbeddedStore, open_store, parse

from ..latency.probe import apart
from .search_loop import Search, claim_output, serve


def _build(vectors: Any, job: dict[str, Any]) -> Search:
    """Build the index once more to time it, in a process of its own, and open the one that is there."""
    url, collection = job["url"], job["collection"]
    job["build_seconds"], job["build_megabytes"] = None, None
    if parse(url).embedded:
        job["build_seconds"], job["build_megabytes"] = apart(_rebuild, url, collection, job["folder"])
    store = open_store(url, collection, load_settings())
    position = {one: at for at, one in enumerate(json.loads(Path(job["ids"]).read_text()))}

    def search(vector: Any, k: int, effort: int | None) -> Sequence[int]:
        return [position[hit.id] for hit in store.search(vector[None], k, effort=effort)[0]]

    return search


def _rebuild(url: str, collection: str, folder: str) -> tuple[float, float]:
    """Return the seconds that building the index of a store takes, and the most megabytes meanwhile."""
    store = open_store(url, collection, load_settings())
    assert isinstance(store, EmbeddedStore)  # noqa: S101 - the caller has looked at the URL
    kind = ENGINE_KINDS[parse(url).kind]
    options = {name: store.info.options[name] for name in kind.build_options}
    log = store.log
    store.close()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=folder) as target:
        kind.load().build(Path(target) / "index", log, options, lambda _: None)
        seconds = time.perf_counter() - started
    return seconds, peak_memory() / 1e6


if __name__ == "__main__":
    claim_output()
    serve(json.loads(sys.argv[1]), _build)
