"""A collection in both engines, and the command that compares it with other libraries."""

from pathlib import Path

import numpy as np
import pytest
from cbir.bench import command
from cbir.bench.baselines.library import Library
from cbir.bench.core.synthetic import clustered

from tests.support.bench_stores import KINDS, build_kinds
from tests.support.building import both, unit_vectors
from tests.support.running import Program, runner

COUNT = 2500  # more than Qdrant scans anyway


@pytest.fixture(scope="session")
def urls(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("baselines") / "index"
    build_kinds(both(root), clustered(COUNT, 1280, 1), [KINDS[row * 7 % 600] for row in range(COUNT)])
    return both(root)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    return runner(monkeypatch, capsys, command.main, "cbir-bench", "baselines")


def finds_everything(name: str, library: Library, folder: Path) -> None:
    """Check that an index finds what was built, and what was added, also after it is opened again."""
    for module in library.modules:
        pytest.importorskip(module)
    vectors, fresh = unit_vectors(100, dimension=16), unit_vectors(10, seed=1, dimension=16)
    job = {"m": 16, "ef_construct": 100, "threads": 2, "dimension": 16, "folder": str(folder / "index")}
    (folder / "index").mkdir()
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
        again = library.open({**job, "folder": str(folder / "index")}) if name != "qdrant-edge" else index
        assert [hits[0] for hits in again.search(fresh, 3)] == list(range(100, 110)), "it is on the disk"
