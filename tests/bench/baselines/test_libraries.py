"""Search libraries that are measured: each builds, opens, searches and grows its index."""

from pathlib import Path

import numpy as np
import pytest
from cbir.bench.baselines.databases import DATABASES
from cbir.bench.baselines.libraries import LIBRARIES

from tests.bench.baselines.conftest import finds_everything
from tests.support.building import unit_vectors


@pytest.mark.parametrize("name", [name for name in LIBRARIES if name not in DATABASES])
def test_a_library_finds_what_was_built_and_what_was_added_after_it_is_opened_again(name: str, tmp_path: Path) -> None:
    finds_everything(name, LIBRARIES[name], tmp_path)


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
