"""A small collection to change, and the program that measures it."""

import pytest
from cbir.bench import command
from cbir.bench.growth.workplace import Workplace

from tests.support.running import Program, runner


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A collection in a FAISS index that compares with every vector."""
    return Workplace(tmp_path_factory.mktemp("growth"), ["faiss?index=Flat"], 1200, 32, lambda count: None)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    return runner(monkeypatch, capsys, command.main, "cbir-bench", "growth")
