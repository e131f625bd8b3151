"""Search libraries that are measured: each builds, opens, searches and grows its index."""

from pathlib import Path

import numpy as np
import pytest
from cbir.bench.baselines.libraries import LIBRARIES

from tests.support.building import unit_vectors

MODULES = {"hnswlib": "hnswlib", "usearch": "usearch", "lancedb": "lancedb", "chroma": "chromadb"}


@pytest.mark.parametrize("name", list(LIBRARIES))
def test_a_library_finds_what_was_built_and_what_was_added_after_it_is_opened_again(name: str, tmp_path: Path) -> None:
    if name in MODULES:
        pytest.importorskip(MODULES[name])
    vectors, fresh = unit_vectors(100, dimension=16), unit_vectors(10, seed=1, dimension=16)
    job = {"m": 16, "ef_construct": 100, "threads": 2, "dimension": 16, "folder": str(tmp_path / "index")}
    (tmp_path / "index").mkdir()
    library = LIBRARIES[name]
    library.build(vectors, job)
    index = library.open(job)
    index.use(64)
    rows = [0, 7, 99]
    assert [index.search(vectors[row : row + 1], 3)[0][0] for row in rows] == rows
    found = index.search(vectors[rows], 3)
    truth = np.argsort(-(vectors[rows] @ vectors.T), axis=1)[:, :3]
    assert found == truth.tolist(), "many at once"
    index.add(fresh)
    assert [hits[0] for hits in index.search(fresh, 3)] == list(range(100, 110))
    if name != "qdrant-client":  # which locks its folder
        again = library.open({**job, "folder": str(tmp_path / "index")}) if name != "qdrant-edge" else index
        assert [hits[0] for hits in again.search(fresh, 3)] == list(range(100, 110)), "it is on the disk"


def test_ef_matters_to_a_graph_and_a_half_written_file_replaces_nothing(tmp_path: Path) -> None:
    vectors, queries = unit_vectors(3000, dimension=64), unit_vectors(50, seed=1, dimension=64)
    job = {"m": 4, "ef_construct": 16, "threads": 2, "dimension": 64, "folder": str(tmp_path)}
    LIBRARIES["faiss"].build(vectors, job)
    index = LIBRARIES["faiss"].open(job)
    truth = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]

    def recall(ef: int) -> float:
        index.use(ef)
        found = index.search(queries, 10)
        return float(np.mean([len(set(row) & set(true)) for row, true in zip(found, truth.tolist(), strict=True)])) / 10

    assert recall(10) < recall(200)
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
