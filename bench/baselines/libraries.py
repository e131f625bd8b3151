"""Search libraries that are measured: how each builds an index on the disk, opens it, searches it and adds to it.

The module needs nothing of cbir but NumPy, since it is imported by path in the environment that has a library.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Hits = list[list[int]]
Job = dict[str, Any]
_BATCH = 1000


class Index(Protocol):
    """An index on the disk, open."""

    def use(self, ef: int | None) -> None:
        """Search with this ef from now on."""

    def search(self, vectors: Any, k: int) -> Hits:
        """Return the positions of the k hits of each vector, float32 (Q, D), best first."""

    def add(self, vectors: Any) -> None:
        """Store more vectors, so that they survive the end of this process; their positions go on."""


@dataclass(frozen=True)
class Library:
    """What builds an index in `job["folder"]`, and what opens it. `modules` are imported before anything is timed."""

    build: Callable[[Any, Job], None]
    open: Callable[[Job], Index]
    package: str
    description: str
    modules: tuple[str, ...]
    scans: bool = False


def _replace(job: Job, write: Callable[[str], object]) -> None:
    """Write the file of an index so that it is there whole or not at all, even after a power cut."""
    path = Path(job["folder"], "index.new")
    write(str(path))
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    path.replace(path.with_suffix(""))


def _threads(vectors: Any, job: Job) -> int:
    return 1 if len(vectors) == 1 else int(job["threads"])


class _Numpy:
    def __init__(self, job: Job):
        import numpy as np

        self._np, self._job = np, job
        self._kept = np.fromfile(f"{job['folder']}/index", np.float32).reshape(-1, job["dimension"])

    @staticmethod
    def build(vectors: Any, job: Job) -> None:
        _replace(job, lambda path: vectors.tofile(path))

    def use(self, ef: int | None) -> None:
        pass

    def search(self, vectors: Any, k: int) -> Hits:
        hits = []
        for scores in vectors @ self._kept.T:
            best = self._np.argpartition(scores, len(scores) - k)[-k:]
            hits.append(best[self._np.argsort(-scores[best])].tolist())
        return hits

    def add(self, vectors: Any) -> None:
        self._kept = self._np.concatenate([self._kept, vectors])
        self.build(self._kept, self._job)


class _Faiss:
    def __init__(self, job: Job):
        import faiss

        self._faiss, self._job = faiss, job
        self._index: Any = faiss.read_index(f"{job['folder']}/index")

    @staticmethod
    def build(vectors: Any, job: Job) -> None:
        import faiss

        index = faiss.IndexHNSWFlat(vectors.shape[1], job["m"], faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = job["ef_construct"]
        index.add(vectors)
        _replace(job, lambda path: faiss.write_index(index, path))

    def use(self, ef: int | None) -> None:
        self._index.hnsw.efSearch = ef

    def search(self, vectors: Any, k: int) -> Hits:
        return self._index.search(vectors, k)[1].tolist()  # type: ignore[no-any-return]

    def add(self, vectors: Any) -> None:
        self._index.add(vectors)
        _replace(self._job, lambda path: self._faiss.write_index(self._index, path))


class _Hnswlib:
    def __init__(self, job: Job):
        import hnswlib

        self._job = job
        self._index = hnswlib.Index(space="ip", dim=job["dimension"])
        self._index.load_index(f"{job['folder']}/index")

    @staticmethod
    def build(vectors: Any, job: Job) -> None:
        import hnswlib

        index = hnswlib.Index(space="ip", dim=vectors.shape[1])
        index.init_index(max_elements=len(vectors), M=job["m"], ef_construction=job["ef_construct"])
        index.add_items(vectors, num_threads=job["threads"])
        _replace(job, index.save_index)

    def use(self, ef: int | None) -> None:
        self._index.set_ef(ef)

    def search(self, vectors: Any, k: int) -> Hits:
        found = self._index.knn_query(vectors, k, num_threads=_threads(vectors, self._job))[0]
        return found.tolist()  # type: ignore[no-any-return]

    def add(self, vectors: Any) -> None:
        self._index.resize_index(self._index.get_current_count() + len(vectors))
        self._index.add_items(vectors, num_threads=self._job["threads"])
        _replace(self._job, self._index.save_index)


class _Usearch:
    def __init__(self, job: Job):
        from usearch.index import Index

        self._job = job
        self._index = Index.restore(f"{job['folder']}/index")

    @staticmethod
    def build(vectors: Any, job: Job) -> None:
        import numpy as np
        from usearch.index import Index

        graph = {"connectivity": job["m"], "expansion_add": job["ef_construct"]}
        index = Index(ndim=vectors.shape[1], metric="ip", dtype="f32", **graph)
        index.add(np.arange(len(vectors)), vectors, threads=job["threads"])
        _replace(job, index.save)

    def use(self, ef: int | None) -> None:
        self._index.expansion_search = ef

    def search(self, vectors: Any, k: int) -> Hits:
        return self._index.search(vectors, k, threads=_threads(vectors, self._job)).keys.reshape(-1, k).tolist()  # type: ignore[no-any-return]

    def add(self, vectors: Any) -> None:
        import numpy as np

        self._index.expansion_add = self._job["ef_construct"]
        self._index.add(len(self._index) + np.arange(len(vectors)), vectors, threads=self._job["threads"])
        _replace(self._job, self._index.save)


class _QdrantEdge:
    def __init__(self, job: Job):
        import qdrant_edge as edge

        self._edge, self._shard = edge, edge.EdgeShard.load(f"{job['folder']}/shard")
        self._params = edge.SearchParams()

    @classmethod
    def build(cls, vectors: Any, job: Job) -> None:
        import qdrant_edge as edge

        config = edge.EdgeConfig(
            vectors=edge.EdgeVectorParams(size=vectors.shape[1], distance=edge.Distance.Cosine),
            hnsw_config=edge.HnswIndexConfig(m=job["m"], ef_construct=job["ef_construct"], full_scan_threshold=10_000),
            optimizers=edge.EdgeOptimizersConfig(default_segment_number=1),
        )
        Path(job["folder"], "shard").mkdir()
        shard = edge.EdgeShard.create(f"{job['folder']}/shard", config)
        for start in range(0, len(vectors), _BATCH):
            cls._upsert(shard, vectors[start : start + _BATCH], start)
        shard.optimize()
        shard.flush()
        shard.close()

    @staticmethod
    def _upsert(shard: Any, vectors: Any, start: int) -> None:
        import qdrant_edge as edge

        points = [edge.Point(number, row, {}) for number, row in enumerate(vectors.tolist(), start)]
        shard.update(edge.UpdateOperation.upsert_points(points))
        shard.flush()

    def use(self, ef: int | None) -> None:
        self._params = self._edge.SearchParams(hnsw_ef=ef)

    def search(self, vectors: Any, k: int) -> Hits:
        edge = self._edge
        requests = [
            edge.QueryRequest(limit=k, query=edge.Query.Nearest(vector), params=self._params)
            for vector in vectors.tolist()
        ]
        return [
            [int(str(hit.id)) for hit in hits] for hits in self._shard.query_batch(edge.QueryBatchRequest(requests))
        ]

    def add(self, vectors: Any) -> None:
        self._upsert(self._shard, vectors, self._shard.info().points_count)


class _QdrantClient:
    def __init__(self, job: Job):
        from qdrant_client import QdrantClient, models

        self._client, self._models = QdrantClient(path=job["folder"]), models

    @classmethod
    def build(cls, vectors: Any, job: Job) -> None:
        opened = cls(job)
        models = opened._models
        config = models.VectorParams(size=vectors.shape[1], distance=models.Distance.COSINE)
        opened._client.create_collection("vectors", vectors_config=config)
        for start in range(0, len(vectors), _BATCH):
            opened.add(vectors[start : start + _BATCH])
        opened._client.close()

    def use(self, ef: int | None) -> None:
        pass

    def search(self, vectors: Any, k: int) -> Hits:
        requests = [self._models.QueryRequest(query=vector, limit=k) for vector in vectors.tolist()]
        return [[int(hit.id) for hit in found.points] for found in self._client.query_batch_points("vectors", requests)]

    def add(self, vectors: Any) -> None:
        start = self._client.count("vectors").count
        points = [self._models.PointStruct(id=number, vector=row) for number, row in enumerate(vectors.tolist(), start)]
        self._client.upsert("vectors", points)


class _LanceDB:
    def __init__(self, job: Job):
        import lancedb

        self._table = lancedb.connect(job["folder"]).open_table("vectors")
        self._ef: int | None = None

    @classmethod
    def build(cls, vectors: Any, job: Job) -> None:
        import lancedb

        table = lancedb.connect(job["folder"]).create_table("vectors", cls._rows(vectors, 0))
        table.create_index(
            metric="dot", vector_column_name="vector", index_type="IVF_HNSW_FLAT", num_partitions=1, m=job["m"],
            ef_construction=job["ef_construct"],
        )  # fmt: skip

    @staticmethod
    def _rows(vectors: Any, start: int) -> Any:
        import numpy as np
        import pyarrow as pa

        rows = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
        return pa.table({"id": start + np.arange(len(vectors)), "vector": rows})

    def use(self, ef: int | None) -> None:
        self._ef = ef

    def search(self, vectors: Any, k: int) -> Hits:
        is_single = len(vectors) == 1
        query = (
            self._table.search(vectors[0] if is_single else vectors)
            .distance_type("dot")
            .limit(k)
            .ef(self._ef)
            .nprobes(1)
        )
        found = query.select(["id", "_distance"]).to_arrow()
        hits: Hits = [[] for _ in vectors]
        numbers = [0] * len(found) if is_single else found["query_index"].to_pylist()
        for number, row in zip(numbers, found["id"].to_pylist(), strict=True):
            hits[number].append(row)
        return hits

    def add(self, vectors: Any) -> None:
        self._table.add(self._rows(vectors, self._table.count_rows()))


class _Chroma:
    def __init__(self, job: Job):
        self._job = job
        self._ef: int | None = None
        self._collection = self._client(job).get_collection("vectors", embedding_function=None)

    @staticmethod
    def _client(job: Job) -> Any:
        import chromadb
        from chromadb.api.shared_system_client import SharedSystemClient

        SharedSystemClient.clear_system_cache()  # an ef is only read when the index is opened
        return chromadb.PersistentClient(job["folder"], chromadb.Settings(anonymized_telemetry=False))

    @classmethod
    def build(cls, vectors: Any, job: Job) -> None:
        graph = {"space": "ip", "max_neighbors": job["m"], "ef_construction": job["ef_construct"]}
        cls._client(job).create_collection("vectors", configuration={"hnsw": graph}, embedding_function=None)
        opened = cls(job)
        for start in range(0, len(vectors), _BATCH):
            opened.add(vectors[start : start + _BATCH])

    def use(self, ef: int | None) -> None:
        if ef != self._ef:
            self._collection.modify(configuration={"hnsw": {"ef_search": ef}})
            self.__init__(self._job)  # type: ignore[misc]
            self._ef = ef

    def search(self, vectors: Any, k: int) -> Hits:
        found = self._collection.query(query_embeddings=vectors, n_results=k, include=[])
        return [list(map(int, ids)) for ids in found["ids"]]

    def add(self, vectors: Any) -> None:
        start = self._collection.count()
        self._collection.add(ids=[str(start + number) for number in range(len(vectors))], embeddings=vectors)


LIBRARIES: Mapping[str, Library] = {
    "faiss": Library(_Faiss.build, _Faiss, "faiss-cpu", "its HNSW index in memory, positions only", ("faiss",)),
    "hnswlib": Library(_Hnswlib.build, _Hnswlib, "hnswlib", "in memory, positions only", ("hnswlib",)),
    "usearch": Library(_Usearch.build, _Usearch, "usearch", "in memory, float32, keys only", ("usearch.index",)),
    "qdrant-edge": Library(
        _QdrantEdge.build, _QdrantEdge, "qdrant-edge-py", "the embedded engine as it is, ids only", ("qdrant_edge",)
    ),
    "lancedb": Library(
        _LanceDB.build, _LanceDB, "lancedb", "HNSW in one partition, vectors as they are, ids only", ("lancedb",)
    ),
    "chroma": Library(_Chroma.build, _Chroma, "chromadb", "PersistentClient, ids only", ("chromadb",)),
    "qdrant-client": Library(
        _QdrantClient.build, _QdrantClient, "qdrant-client", "QdrantClient(path=...), a scan in Python, ids only",
        ("qdrant_client",), scans=True,
    ),
    "numpy": Library(
        _Numpy.build, _Numpy, "numpy", "a product with all vectors and the largest of it", (), scans=True
    ),
}  # fmt: skip
