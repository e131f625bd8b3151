"""Results on a console."""

import pytest
from cbir.bench.core import console


def test_a_narrow_terminal_gets_the_tables_of_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert console.new_console().width == console.WIDTH
    monkeypatch.setenv("COLUMNS", "180")
    assert console.new_console().width == 180
