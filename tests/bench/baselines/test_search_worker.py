"""The worker of a search library: it builds an index, and answers line by line."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cbir.bench.baselines.search_worker import LIBRARIES

from tests.support.building import unit_vectors

SCRIPT = Path(__file__).parents[3] / "bench" / "baselines" / "search_worker.py"


@pytest.mark.parametrize("name", ["numpy", "faiss", "qdrant-edge", "qdrant-client"])
def test_a_library_finds_each_vector_itself_first(name: str, tmp_path: Path) -> None:
    vectors = unit_vectors(100, dimension=16)
    job = {"m": 16, "ef_construct": 100, "folder": str(tmp_path / "index")}
    if name.startswith("qdrant"):
        (tmp_path / "index").mkdir()
    search = LIBRARIES[name][0](vectors, job)
    assert [search(vectors[row], 3, 64)[0] for row in (0, 7, 99)] == [0, 7, 99]


def test_a_worker_answers_each_line(tmp_path: Path) -> None:
    vectors = unit_vectors(50, dimension=8)
    np.save(tmp_path / "vectors.npy", vectors)
    np.save(tmp_path / "queries.npy", vectors[:20])
    job = {"name": "numpy", "package": "numpy", "k": 4, "m": 16, "ef_construct": 100, "folder": str(tmp_path)}
    job |= {name: str(tmp_path / f"{name}.npy") for name in ("vectors", "queries")}
    orders = [{"ef": None, "seconds": 1, "hits": hits} for hits in (True, False)]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), json.dumps(job)],
        input="".join(json.dumps(order) + "\n" for order in orders),
        capture_output=True,
        text=True,
        check=True,
    )
    built, first, second = map(json.loads, done.stdout.splitlines())
    assert built["version"] == np.__version__ and built["build_seconds"] >= 0
    assert [hits[0] for hits in first["hits"]] == list(range(20)) and len(first["ms"]) == 20
    assert all(len(hits) == 4 for hits in first["hits"])
    assert second["hits"] == [] and len(second["ms"]) == 20
