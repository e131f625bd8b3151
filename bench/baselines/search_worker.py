"""One search library with the vectors of a collection: it builds its index, then answers queries.

Run by path, in the environment that has the library; it needs nothing of cbir but NumPy. Takes a JSON object, and the
file descriptor of the `Connection` that it answers on.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

Search = Callable[[Any, int, int | None], Sequence[int]]
"""Takes a vector, float32 (D,), the number of hits and ef; returns the positions of the hits, best first."""

_BATCH = 1000
_MIN_QUERIES = 20


@dataclass(frozen=True)
class Library:
    """What builds the index of vectors for a job, the package it comes in, and how it is used."""

    build: Callable[[Any, dict[str, Any]], Search]
    package: str
    description: str
    scans: bool = False


def _numpy(vectors: Any, job: dict[str, Any]) -> Search:
    import numpy as np

    kept = np.array(vectors)

    def search(vector: Any, k: int, ef: int | None) -> Sequence[int]:
        scores = kept @ vector
        best = np.argpartition(scores, len(scores) - k)[-k:]
        return best[np.argsort(-scores[best])].tolist()  # type: ignore[no-any-return]

    return search


def _faiss(vectors: Any, job: dict[str, Any]) -> Search:
    import faiss

    index = faiss.IndexHNSWFlat(vectors.shape[1], job["m"], faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = job["ef_construct"]
    index.add(vectors)

    parameters: Any = faiss
    return lambda vector, k, ef: index.search(vector[None], k, params=parameters.SearchParametersHNSW(efSearch=ef))[1][
        0
    ].tolist()


def _qdrant_edge(vectors: Any, job: dict[str, Any]) -> Search:
    import qdrant_edge as edge

    config = edge.EdgeConfig(
        vectors=edge.EdgeVectorParams(size=vectors.shape[1], distance=edge.Distance.Cosine),
        hnsw_config=edge.HnswIndexConfig(m=job["m"], ef_construct=job["ef_construct"], full_scan_threshold=10_000),
        optimizers=edge.EdgeOptimizersConfig(default_segment_number=1),
    )
    shard = edge.EdgeShard.create(job["folder"], config)
    for start in range(0, len(vectors), _BATCH):
        rows = vectors[start : start + _BATCH].tolist()
        points = [edge.Point(number, row, {}) for number, row in enumerate(rows, start)]
        shard.update(edge.UpdateOperation.upsert_points(points))
        shard.flush()
    shard.optimize()
    shard.flush()

    def search(vector: Any, k: int, ef: int | None) -> Sequence[int]:
        query, params = edge.Query.Nearest(vector.tolist()), edge.SearchParams(hnsw_ef=ef)
        hits: Any = shard.query(edge.QueryRequest(limit=k, query=query, params=params))
        return [hit.id for hit in hits]

    return search


def _hnswlib(vectors: Any, job: dict[str, Any]) -> Search:
    import hnswlib

    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), M=job["m"], ef_construction=job["ef_construct"])
    index.add_items(vectors)
    index.set_num_threads(1)

    def search(vector: Any, k: int, ef: int | None) -> Sequence[int]:
        index.set_ef(ef)
        return index.knn_query(vector, k)[0][0].tolist()  # type: ignore[no-any-return]

    return search


def _usearch(vectors: Any, job: dict[str, Any]) -> Search:
    import numpy as np
    from usearch.index import Index

    index = Index(
        ndim=vectors.shape[1], metric="ip", dtype="f32", connectivity=job["m"], expansion_add=job["ef_construct"]
    )
    index.add(np.arange(len(vectors)), vectors)

    def search(vector: Any, k: int, ef: int | None) -> Sequence[int]:
        index.expansion_search = ef
        return index.search(vector, k, threads=1).keys.tolist()  # type: ignore[no-any-return]

    return search


def _lancedb(vectors: Any, job: dict[str, Any]) -> Search:
    import lancedb
    import numpy as np
    import pyarrow as pa

    rows = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    table = lancedb.connect(job["folder"]).create_table(
        "vectors", pa.table({"id": np.arange(len(vectors)), "vector": rows})
    )
    table.create_index(
        metric="dot",
        vector_column_name="vector",
        index_type="IVF_HNSW_FLAT",
        num_partitions=1,
        m=job["m"],
        ef_construction=job["ef_construct"],
    )

    def search(vector: Any, k: int, ef: int | None) -> Sequence[int]:
        query = table.search(vector).distance_type("dot").limit(k).ef(ef).nprobes(1)
        return query.select(["id", "_distance"]).to_arrow()["id"].to_pylist()  # type: ignore[no-any-return]

    return search


def _qdrant_client(vectors: Any, job: dict[str, Any]) -> Search:
    from qdrant_client import QdrantClient, models

    client = QdrantClient(path=job["folder"])
    client.create_collection(
        "vectors", vectors_config=models.VectorParams(size=vectors.shape[1], distance=models.Distance.COSINE)
    )
    for start in range(0, len(vectors), _BATCH):
        rows = vectors[start : start + _BATCH].tolist()
        client.upsert("vectors", [models.PointStruct(id=number, vector=row) for number, row in enumerate(rows, start)])

    return lambda vector, k, ef: [
        int(hit.id) for hit in client.query_points("vectors", query=vector, limit=k, with_payload=False).points
    ]


def _cbir(vectors: Any, job: dict[str, Any]) -> Search:
    """Open a store, which was built before. The index of an embedded one is built again, to be measured."""
    from cbir.settings import Settings
    from cbir.stores.base import SearchParams
    from cbir.stores.registry import open_store

    from ..core.measured_process import apart
    from ..core.stores import location_of, rebuild

    place = job["url"], job["collection"]
    job["built"] = apart(rebuild, *place) if location_of(job["url"]) else (None, None)
    store = open_store(*place, Settings())
    position = {point_id: index for index, point_id in enumerate(json.loads(Path(job["data"], "ids.json").read_text()))}

    def search(vector: Any, k: int, ef: int | None) -> Sequence[int]:
        return [position[hit.id] for hit in store.search(vector[None], k, params=SearchParams(ef))[0]]

    return search


STORE = Library(_cbir, "cbir", "through the store protocol, with ids and payloads")
LIBRARIES = {
    "faiss": Library(_faiss, "faiss-cpu", "its HNSW index in memory, positions only"),
    "hnswlib": Library(_hnswlib, "hnswlib", "in memory, positions only"),
    "usearch": Library(_usearch, "usearch", "in memory, float32, keys only"),
    "qdrant-edge": Library(_qdrant_edge, "qdrant-edge-py", "the embedded engine as it is, ids only"),
    "lancedb": Library(_lancedb, "lancedb", "HNSW in one partition, vectors as they are, on disk, ids only"),
    "qdrant-client": Library(
        _qdrant_client, "qdrant-client", "QdrantClient(path=...), a scan in Python, ids only", scans=True
    ),
    "numpy": Library(_numpy, "numpy", "a product with all vectors and the largest of it", scans=True),
}
"""By name; a store of cbir has another name and is a `STORE`."""


def megabytes(name: str) -> float | None:
    """Return a size in /proc/self/status, VmRSS for this process now, VmHWM for its most; None where there is none."""
    try:
        return int(Path("/proc/self/status").read_text().partition(f"{name}:")[2].split()[0]) / 1000
    except OSError:
        return None


def serve(job: dict[str, Any], channel: Connection) -> None:
    """Build an index, say that it is ready, then answer each order until the other side is gone.

    Args:
        job: name: of the library; data: a folder with vectors.npy (N, D), queries.npy (Q, D), both float32, and
            ids.json; folder: an empty one for the index; k: hits; m, ef_construct: of its graph, where it has one;
            url, collection: of a store.
        channel: Where it answers.

    An order has `ef`, `seconds`, after which no further query starts, and whether `hits` are wanted. The answer has
    `ms`, a number for each query, and `hits`, the positions of each query's hits.
    """
    import numpy as np

    library = LIBRARIES.get(job["name"], STORE)
    vectors, queries = (np.load(f"{job['data']}/{name}.npy") for name in ("vectors", "queries"))
    started = time.perf_counter()
    search = library.build(vectors, job)
    seconds = time.perf_counter() - started
    del vectors
    for query in queries[:_MIN_QUERIES]:
        search(query, job["k"], 2 * job["k"])
    seconds, most = job.get("built", (seconds, megabytes("VmHWM")))
    channel.send({"build_seconds": seconds, "build_megabytes": most, "version": version(library.package)})
    while True:
        try:
            order = channel.recv()
        except EOFError:
            return
        spent, hits, until = [], [], time.perf_counter() + order["seconds"]
        for number, query in enumerate(queries):
            if number >= _MIN_QUERIES and time.perf_counter() > until:
                break
            start = time.perf_counter()
            found = search(query, job["k"], order["ef"])
            spent.append((time.perf_counter() - start) * 1000)
            hits.append(list(found))
        channel.send({"ms": spent, "hits": hits if order["hits"] else [], "megabytes": megabytes("VmRSS")})


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]), Connection(int(sys.argv[2])))
