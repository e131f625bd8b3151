"""The process of a candidate: it builds an index and ends, or opens one and answers each order."""

import json
import subprocess
import sys
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cbir.bench.baselines import search_worker

from tests.support.building import unit_vectors


@pytest.fixture
def job(tmp_path: Path) -> dict[str, Any]:
    """The job of a scan of 50 vectors."""
    vectors = unit_vectors(80, dimension=8)
    for name, part in {"vectors": vectors[:50], "queries": vectors[50:75], "added": vectors[75:79]}.items():
        np.save(tmp_path / f"{name}.npy", part)
    places = {"data": str(tmp_path), "folder": str(tmp_path), "module": "baselines.libraries"}
    return {"library": "numpy", **places, "k": 4, "dimension": 8, "threads": 1, "added": 2, "seconds": 5}


def answers(job: dict[str, Any], phase: str, *orders: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what the process says first, and to each order."""
    ours, theirs = Pipe()
    words = [sys.executable, search_worker.__file__, json.dumps({**job, "phase": phase}), str(theirs.fileno())]
    with theirs, subprocess.Popen(words, pass_fds=[theirs.fileno()]) as process:
        found = [ours.recv()]
        for order in orders:
            ours.send(order)
            found.append(ours.recv())
        ours.close()
        assert process.wait(60) == 0, "it ends with the other side, or when it has built"
    return found


def test_a_worker_builds_opens_searches_and_grows(job: dict[str, Any]) -> None:
    (built,) = answers(job, "build")
    assert built["version"] == np.__version__ and built["build_seconds"] > 0 and built["build_megabytes"] > 10
    search = {"ef": None, "seconds": 1}
    opened, first, grown = answers(job, "open", search, {"round": 0, "ef": None})
    assert opened["open_ms"] > 0 and grown["add_ms"] > 0
    vectors = unit_vectors(80, dimension=8)
    best = np.argsort(-(vectors[50:75] @ vectors[:50].T), axis=1)[:, :4].tolist()
    assert first["hits"] == first["batch_hits"] == best, "the timed answers, one by one and at once"
    assert len(first["ms"]) == 25 and first["batch_seconds"] > 0 and first["megabytes"] > 10


def test_a_turn_ends_after_its_time(job: dict[str, Any]) -> None:
    answers(job, "build")
    _, found = answers(job, "open", {"ef": None, "seconds": 0})
    assert len(found["ms"]) == len(found["hits"]) == len(found["batch_hits"]) == 20


def test_points_that_are_not_found_are_an_error(job: dict[str, Any]) -> None:
    class Forgetful:
        def use(self, ef: int | None) -> None:
            pass

        def add(self, vectors: Any) -> None:
            pass

        def search(self, vectors: Any, k: int) -> list[list[int]]:
            return [[0]]

    vectors = unit_vectors(8, dimension=8)
    data, order = {"vectors": vectors[:4], "added": vectors[4:]}, {"round": 0, "ef": None}
    with pytest.raises(RuntimeError, match="not found"):
        search_worker.grow(Forgetful(), {**job, "seconds": 0}, data, order)
    data["vectors"] = vectors[5:6]
    assert search_worker.grow(Forgetful(), job, data, order)["add_ms"] >= 0, "a copy of the last point is found"
