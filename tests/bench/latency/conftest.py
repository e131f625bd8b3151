"""Indexes of which Qdrant builds a graph."""

from collections.abc import Iterator

import numpy as np
import pytest
from cbir.bench.core.synthetic import clustered
from cbir.bench.core.workload import Workload, open_workload

from cbir.settings import Settings
from tests.support.bench_stores import build_kinds, mixed_kinds
from tests.support.building import both, unit_vectors

COUNT = 2500  # Qdrant scans fewer


@pytest.fixture(scope="session")
def urls(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two stores of vectors so long that Edge builds a graph."""
    root = tmp_path_factory.mktemp("latency") / "index"
    build_kinds(both(root), unit_vectors(COUNT, dimension=1280), mixed_kinds(COUNT))
    return both(root)


@pytest.fixture
def workload(urls: list[str]) -> Iterator[Workload]:
    """30 queries in both."""
    with open_workload(urls, "made", 5, 30, 1, Settings()) as opened:
        yield opened


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """An Edge and a FAISS index, which map their vectors: 900 x 8,000 float32, 28.8 MB.

    The vectors are so long that Edge builds a graph for few. Two in five points, all in one region, are of one class.
    """
    root = tmp_path_factory.mktemp("large") / "index"
    vectors = clustered(900, 8000, 0)
    region = vectors @ clustered(1, 8000, 1)[0]
    common = region <= np.sort(region)[359]
    urls = [f"edge:{root}?on_disk=1&ef_construct=32&datatype=float32", f"faiss:{root}/flat?index=Flat"]
    build_kinds(urls, vectors, ["common" if is_common else "other" for is_common in common])
    return urls
