"""The command that measures an ingest."""

import pytest
from cbir.bench import command

from tests.support.running import Program, runner


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    """Program `cbir-bench ingest` in this process and return exit code, output and errors."""
    return runner(monkeypatch, capsys, command.main, "cbir-bench", "ingest")
