"""A collection in both engines, and the command that compares it with other libraries."""

import pytest
from cbir.bench import command
from cbir.bench.core.synthetic import clustered

from tests.support.bench_stores import KINDS, build_kinds
from tests.support.building import both
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
