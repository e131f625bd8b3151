"""A section on a console."""

import pytest
from cbir.bench.core.console import print_section

from cbir.evaluation.sections import Section
from cbir.tables import Column, Table


def test_verdicts_come_first_and_nothing_is_cut_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    long = "words " * 60
    table = Table("Table", [Column("store"), Column("search", "ms", ".2f")], [[long.strip(), 1.5]])
    print_section(Section("title", "subject", ["FAISS is faster."], [table], ["A note."]))
    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[:2] == ["FAISS is faster.", "subject"]
    assert lines[-1] == "A note."
    assert any(long.strip() in line and line.endswith("1.50") for line in lines)
