"""Search libraries that are measured: how each builds an index on the disk, opens it, searches it and adds to it.

The package needs nothing of the rest of cbir here, since it is imported in the environment that has a library.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .databases import DATABASES
from .library import Hits, Job, Library


def _replace(job: Job, write: Callable[[str], object]) -> None:
    """Write the file of an index so that it is there whole or not at all, even after a power cut."""
    path = Path(job["folder"], "index.new")
    write(str(path))
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    path.replace(path.with_suffix(""))
    folder = os.open(job["folder"], os.O_RDONLY)
    os.fsync(folder)  # the new name, too
    os.close(folder)


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
    factory = "HNSW{m},Flat"

    def __init__(self, job: Job):
        import faiss

        self._faiss, self._job = faiss, job
        self._index: Any = faiss.read_index(f"{job['folder']}/index")

    @classmethod
    def build(cls, vectors: Any, job: Job) -> None:
        import faiss

        index: Any = faiss.index_factory(vectors.shape[1], cls.factory.format(**job), faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = job["ef_construct"]
        index.train(vectors)
        index.add(vectors)
        _replace(job, lambda path: faiss.write_index(index, path))

    def use(self, ef: int | None) -> None:
        self._index.hnsw.efSearch = ef

    def search(self, vectors: Any, k: int) -> Hits:
        return self._index.search(vectors, k)[1].tolist()  # type: ignore[no-any-return]

    def add(self, vectors: Any) -> None:
        self._index.add(vectors)
        _replace(self._job, lambda path: self._faiss.write_index(self._index, path))


class _FaissHalf(_Faiss):
    factory = "HNSW{m}_SQfp16"


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
        return self._index.knn_query(vectors, k, num_threads=_threads(vectors, self._job))[0].tolist()  # type: ignore[no-any-return]

    def add(self, vectors: Any) -> None:
        self._index.resize_index(self._index.get_current_count() + len(vectors))
        self._index.add_items(vectors, num_threads=self._job["threads"])
        _replace(self._job, self._index.save_index)


class _Usearch:
    dtype = "f32"

    def __init__(self, job: Job):
        from usearch.index import Index

        self._job = job
        self._index = Index.restore(f"{job['folder']}/index")

    @classmethod
    def build(cls, vectors: Any, job: Job) -> None:
        import numpy as np
        from usearch.index import Index

        graph = {"connectivity": job["m"], "expansion_add": job["ef_construct"]}
        index = Index(ndim=vectors.shape[1], metric="ip", dtype=cls.dtype, **graph)
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


class _UsearchHalf(_Usearch):
    dtype = "f16"


_KEYS = "in memory, positions only"
LIBRARIES: Mapping[str, Library] = {
    "faiss": Library(_Faiss.build, _Faiss, "faiss-cpu", f"HNSW {_KEYS}, float32", ("faiss",)),
    "faiss-fp16": Library(_FaissHalf.build, _FaissHalf, "faiss-cpu", f"HNSW {_KEYS}, 16 bits", ("faiss",)),
    "hnswlib": Library(_Hnswlib.build, _Hnswlib, "hnswlib", f"{_KEYS}, float32", ("hnswlib",)),
    "usearch": Library(_Usearch.build, _Usearch, "usearch", f"{_KEYS}, float32", ("usearch.index",)),
    "usearch-f16": Library(_UsearchHalf.build, _UsearchHalf, "usearch", f"{_KEYS}, 16 bits", ("usearch.index",)),
    **DATABASES,
    "numpy": Library(_Numpy.build, _Numpy, "numpy", "a product with all vectors, float32", (), scans=True),
}
