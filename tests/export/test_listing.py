"""The table of backbones on the console."""

from typing import Any

import pytest
from cbir.export.listing import show_backbones, show_table
from cbir.export.zoo import BACKBONES

from cbir.tables import Column, Table


def test_every_backbone_has_a_row(capsys: Any) -> None:
    show_backbones()
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert set(BACKBONES) <= set(rows)
    assert "timm resnet18.a1_in1k" in rows["resnet18"]
    assert "Apache-2.0" in rows["resnet18"]


def test_cached_weights_are_found(capsys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth").write_bytes(b"weights")
    show_backbones()
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert rows["squeezenet1_1"].rstrip().endswith("here (cache)")
    assert rows["shufflenet_v2_x1_0"].rstrip().endswith("on the hub")


def test_no_column_is_cut_without_a_terminal(capsys: Any) -> None:
    show_table(Table("", [Column("name"), Column("value")], [["n" * 90, "v" * 60]]), "a note")
    printed = capsys.readouterr().out
    assert "n" * 90 in printed
    assert "v" * 60 in printed
    assert "a note" in printed
