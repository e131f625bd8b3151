"""The process of one candidate: it builds an index, or opens one and answers orders.

Run by path, in the environment that has the library; it needs nothing of cbir but NumPy. Takes a JSON object, and the
file descriptor of the `Connection` that it answers on.
"""

import json
import sys
import time
from importlib import import_module
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

_WARM_UP = 20
_EQUAL = 1e-5  # scores that differ by less are those of copies


def megabytes(name: str) -> float | None:
    """Return a size in /proc/self/status, VmRSS for this process now, VmHWM for its most; None where there is none."""
    try:
        return int(Path("/proc/self/status").read_text().partition(f"{name}:")[2].split()[0]) / 1000
    except OSError:
        return None


def build(library: Any, job: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Build the index; return the seconds, and the most memory of this process."""
    start = time.perf_counter()
    library.build(data["vectors"], job)
    seconds = time.perf_counter() - start
    most = megabytes("VmHWM") or 0.0
    return {"build_seconds": seconds, "build_megabytes": most, "version": version(library.package)}


def search(index: Any, job: dict[str, Any], data: dict[str, Any], order: dict[str, Any]) -> dict[str, Any]:
    """Search one by one until the time is over, then with the same queries at once; return times and hits of both."""
    queries, k = data["queries"], job["k"]
    index.use(order["ef"])
    for query in queries[-_WARM_UP:]:
        index.search(query[None], k)
    spent, hits, until = [], [], time.perf_counter() + order["seconds"]
    for number, query in enumerate(queries):
        if number >= _WARM_UP and time.perf_counter() > until:
            break
        start = time.perf_counter()
        found = index.search(query[None], k)
        spent.append((time.perf_counter() - start) * 1000)
        hits += found
    start = time.perf_counter()
    found = index.search(queries[: len(hits)], k)
    seconds = time.perf_counter() - start
    return {"ms": spent, "hits": hits, "batch_seconds": seconds, "batch_hits": found, "megabytes": megabytes("VmRSS")}


def grow(index: Any, job: dict[str, Any], data: dict[str, Any], order: dict[str, Any]) -> dict[str, Any]:
    """Add the points of a round, and search at the widest ef until the last of them, or a copy of it, is found.

    Returns the milliseconds until then.
    """
    size, kept = job["added"], data["vectors"]
    vectors = data["added"][order["round"] * size :][:size]
    last = vectors[-1]
    best = float(last @ last) - _EQUAL
    index.use(order["ef"])
    start = time.perf_counter()
    index.add(vectors)
    until = time.perf_counter() + job["seconds"]
    while True:
        hits = index.search(last[None], job["k"])[0]
        now = time.perf_counter()
        if any(last @ (kept[hit] if hit < len(kept) else data["added"][hit - len(kept)]) >= best for hit in hits):
            return {"add_ms": (now - start) * 1000}
        if now > until:
            raise RuntimeError(f"an added point is not found within {job['seconds']:g} s")


def serve(job: dict[str, Any], channel: Connection) -> None:
    """Build an index and end, or open one and answer each order until the other side is gone.

    Args:
        job: name: of the library; module: where it is; phase: "build" or "open"; data: a folder with vectors.npy
            (N, D), queries.npy (Q, D) and added.npy (A, D), all float32; folder: for the index; k: hits; dimension: D;
            m, ef_construct: of its graph, where it has one; threads: for building and for many queries at once;
            added: points of a round of growth; seconds: how long they may take to be found once they are added; more
            for a store of cbir.
        channel: Where it answers.
    """
    import numpy as np

    sys.path.insert(0, str(Path(__file__).parents[1]))
    library = import_module(job["module"]).LIBRARIES[job["library"]]
    for module in library.modules:
        import_module(module)
    library.prepare(job)
    data = {name: np.load(f"{job['data']}/{name}.npy", "r") for name in ("vectors", "queries", "added")}
    if job["phase"] == "build":
        channel.send(build(library, job, {"vectors": np.array(data["vectors"])}))
        return
    start = time.perf_counter()
    index = library.open(job)
    index.search(np.array(data["queries"][:1]), job["k"])
    channel.send({"open_ms": (time.perf_counter() - start) * 1000})
    while True:
        try:
            order = channel.recv()
        except EOFError:
            return
        channel.send((grow if "round" in order else search)(index, job, data, order))


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]), Connection(int(sys.argv[2])))
