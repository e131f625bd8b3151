"""Databases that are measured: how each builds an index on the disk, opens it, searches it and adds to it.

Everything is as in `cbir.bench.baselines.libraries`.
"""

import gc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .library import Hits, Job, Library

_BATCH = 1000


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
        nearest = [edge.Query.Nearest(vector) for vector in vectors.tolist()]
        requests = [edge.QueryRequest(limit=k, query=query, params=self._params) for query in nearest]
        found = self._shard.query_batch(edge.QueryBatchRequest(requests))
        return [[int(str(hit.id)) for hit in hits] for hits in found]

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
        rows = enumerate(vectors.tolist(), self._client.count("vectors").count)
        self._client.upsert("vectors", [self._models.PointStruct(id=number, vector=row) for number, row in rows])


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
        query = self._table.search(vectors[0] if is_single else vectors).distance_type("dot").limit(k)
        found = query.ef(self._ef).nprobes(1).select(["id", "_distance"]).to_arrow()
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

        for system in [*SharedSystemClient._identifier_to_system.values()]:
            system.stop()  # or it keeps the memory of its index
        SharedSystemClient.clear_system_cache()
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
            del self._collection  # an ef is only read when the index is opened
            gc.collect()
            self.__init__(self._job)  # type: ignore[misc]
            self._ef = ef

    def search(self, vectors: Any, k: int) -> Hits:
        found = self._collection.query(query_embeddings=vectors, n_results=k, include=[])
        return [list(map(int, ids)) for ids in found["ids"]]

    def add(self, vectors: Any) -> None:
        start = self._collection.count()
        self._collection.add(ids=[str(start + number) for number in range(len(vectors))], embeddings=vectors)


DATABASES: Mapping[str, Library] = {
    "qdrant-edge": Library(
        _QdrantEdge.build, _QdrantEdge, "qdrant-edge-py", "the engine as it is, float32, ids only", ("qdrant_edge",)
    ),
    "lancedb": Library(_LanceDB.build, _LanceDB, "lancedb", "HNSW in one partition, float32, ids only", ("lancedb",)),
    "chroma": Library(_Chroma.build, _Chroma, "chromadb", "PersistentClient, float32, ids only", ("chromadb",)),
    "qdrant-client": Library(
        _QdrantClient.build,
        _QdrantClient,
        "qdrant-client",
        "QdrantClient(path=...), a scan in Python, float32, ids only",
        ("qdrant_client",),
        scans=True,
    ),
}
