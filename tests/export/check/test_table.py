"""`cbir-export table`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.exporting import TINY, export

pytest.importorskip("torch", reason="the extra `export` is not installed")

from cbir.export.check import table
from cbir.export.zoo import find_backbone

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore")]


def test_the_table_has_a_line_for_each_backbone(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "available_weights", lambda backbone: "random")
    export("table", TINY, "--folder", tmp_path / "models")
    head, rule, line = capsys.readouterr().out.strip().splitlines()
    assert head.count("|") == rule.count("|") == line.count("|")
    assert line.startswith(f"| {TINY} | random | 64 | 160 |")


def test_a_backbone_that_fails_gets_a_row_with_the_reason(tmp_path: Path) -> None:
    unknown = replace(find_backbone(TINY), architecture="no_such_model")
    *_, line = table.table_lines([unknown], tmp_path)
    assert line.startswith(f"| {TINY} | failed: ")
    assert line.count("|") == 11
