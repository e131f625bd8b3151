"""The worker of a search library: it builds an index, and answers each order."""

import json
import subprocess
import sys
from multiprocessing import Pipe
from pathlib import Path

import numpy as np
import pytest
from cbir.bench.baselines import search_worker
from cbir.bench.baselines.search_worker import LIBRARIES

from tests.support.building import unit_vectors


@pytest.mark.parametrize("name", ["numpy", "faiss", "qdrant-edge", "qdrant-client"])
def test_a_library_finds_each_vector_itself_first(name: str, tmp_path: Path) -> None:
    vectors = unit_vectors(100, dimension=16)
    job = {"m": 16, "ef_construct": 100, "folder": str(tmp_path / "index")}
    if name.startswith("qdrant"):
        (tmp_path / "index").mkdir()
    search = LIBRARIES[name].build(vectors, job)
    assert [search(vectors[row], 3, 64)[0] for row in (0, 7, 99)] == [0, 7, 99]


def test_a_worker_answers_each_order(tmp_path: Path) -> None:
    vectors = unit_vectors(50, dimension=8)
    np.save(tmp_path / "vectors.npy", vectors)
    np.save(tmp_path / "queries.npy", vectors[:20])
    job = {"name": "numpy", "k": 4, "m": 16, "ef_construct": 100, "data": str(tmp_path), "folder": str(tmp_path)}
    ours, theirs = Pipe()
    words = [sys.executable, search_worker.__file__, json.dumps(job), str(theirs.fileno())]
    with theirs, subprocess.Popen(words, pass_fds=[theirs.fileno()]) as process:
        built = ours.recv()
        answers = []
        for hits in (True, False):
            ours.send({"ef": None, "seconds": 1, "hits": hits})
            answers.append(ours.recv())
        ours.close()
        assert process.wait(60) == 0, "it ends with the other side"
    first, second = answers
    assert built["version"] == np.__version__ and built["build_seconds"] >= 0
    assert [hits[0] for hits in first["hits"]] == list(range(20)) and len(first["ms"]) == 20
    assert all(len(hits) == 4 for hits in first["hits"])
    assert second["hits"] == [] and len(second["ms"]) == 20
