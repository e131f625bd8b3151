"""One search library with the vectors of a collection: it builds its index, then answers queries.

Run by path, in the environment that has the library; it needs nothing of cbir but NumPy. Takes a JSON object, prints
one JSON line when the index is there, and one for each line that it reads.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

Search = Callable[[Any, int, int | None], Sequence[int]]
"""Takes a vector, float32 (D,), the number of hits and ef; returns the positions of the hits, best first."""
Builder = Callable[[Any, dict[str, Any]], Search]

_BATCH = 1000
_MIN_QUERIES = 20


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


LIBRARIES: dict[str, tuple[Builder, str]] = {
    "faiss": (_faiss, "faiss-cpu"),
    "hnswlib": (_hnswlib, "hnswlib"),
    "usearch": (_usearch, "usearch"),
    "qdrant-edge": (_qdrant_edge, "qdrant-edge-py"),
    "lancedb": (_lancedb, "lancedb"),
    "qdrant-client": (_qdrant_client, "qdrant-client"),
    "numpy": (_numpy, "numpy"),
}
"""By name: what builds its index, and the package it comes in."""


def memory() -> tuple[float | None, float | None]:
    """Return the megabytes that this process has, and the most it ever had; None where there is no /proc."""
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    except OSError:
        return None, None
    now, most = (int(lines[name].split()[0]) / 1000 for name in ("VmRSS", "VmHWM"))
    return now, most


def serve(job: dict[str, Any], build: Builder) -> None:
    """Build an index, print that it is ready, then answer each line of JSON on standard input.

    Args:
        job: vectors, queries: .npy files of float32 (N, D) and (Q, D); folder: an empty one for the index; k: hits;
            m, ef_construct: of its graph, where it has one; package: whose version is printed.
        build: Builds the index. If it puts `build_seconds` and `build_megabytes` into the job, these are printed
            instead of what is measured here.

    A line has `ef`, `seconds`, after which no further query starts, and whether `hits` are wanted. The answer has `ms`,
    a number for each query, and `hits`, the positions of each query's hits.
    """
    import numpy as np

    vectors, queries = np.load(job["vectors"]), np.load(job["queries"])
    started = time.perf_counter()
    search = build(vectors, job)
    seconds = job.get("build_seconds", time.perf_counter() - started)
    del vectors
    for query in queries[:_MIN_QUERIES]:
        search(query, job["k"], 2 * job["k"])
    most = job.get("build_megabytes", memory()[1])
    _say(build_seconds=seconds, build_megabytes=most, version=version(job["package"]))
    for line in sys.stdin:
        order = json.loads(line)
        spent, hits, until = [], [], time.perf_counter() + order["seconds"]
        for number, query in enumerate(queries):
            if number >= _MIN_QUERIES and time.perf_counter() > until:
                break
            start = time.perf_counter()
            found = search(query, job["k"], order["ef"])
            spent.append((time.perf_counter() - start) * 1000)
            hits.append(list(found))
        _say(ms=spent, hits=hits if order["hits"] else [], megabytes=memory()[0])


def _say(**values: object) -> None:
    _ANSWERS.write(json.dumps(values) + "\n")
    _ANSWERS.flush()


_ANSWERS = sys.stdout


def claim_output() -> None:
    """Keep the standard output for answers: what a library prints goes to the standard error from now on."""
    global _ANSWERS
    _ANSWERS = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)


if __name__ == "__main__":
    claim_output()
    given = json.loads(sys.argv[1])
    serve(given, LIBRARIES[given["name"]][0])
