"""The table of backbones on the console."""

from pathlib import Path
from typing import Any

import pytest
from cbir.export.listing import measured, show_backbones, show_table
from cbir.export.zoo import BACKBONES

from cbir.evaluation.result_files import keep
from cbir.evaluation.trainings import RESULT, add_training
from cbir.tables import Column, Table
from tests.support.trainings import trained_card


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
    assert " here (cache) " in rows["squeezenet1_1"]
    assert " on the hub " in rows["shufflenet_v2_x1_0"]
    assert " packaged, " in rows["efficientnet_lite0"]


def test_the_best_measurement_of_a_backbone_is_shown(tmp_path: Path) -> None:
    assert measured(tmp_path) == {}
    models = [
        {"name": name, "backbone": backbone, "metrics": {"precision_at_5": value}}
        for name, backbone, value in (
            ("mine", "resnet18", 0.7),
            ("resnet18", "", 0.6),
            ("resnet18-mine", "timm:other", 0.9),
            ("clip_vit_b32_laion2b", "", 0.5),
            ("both", "resnet18 + swin_tiny", 1.0),
        )
    ]
    keep({"benchmark": "accuracy", "models": [*models, {"name": "swin_tiny", "metrics": {"recall": 1.0}}]}, tmp_path)
    found = {"resnet18": "0.7000 (accuracy)", "clip_vit_b32_laion2b": "0.5000 (accuracy)"}
    assert measured(tmp_path) == found
    result = add_training(trained_card(precision=0.9), tmp_path)
    keep(RESULT.dump_python(result, mode="json"), tmp_path)
    assert measured(tmp_path) == {**found, "resnet18": "0.9000 (train)"}


def test_no_column_is_cut_without_a_terminal(capsys: Any) -> None:
    show_table(Table("", [Column("name"), Column("value")], [["n" * 90, "v" * 60]]), "a note")
    printed = capsys.readouterr().out
    assert "n" * 90 in printed
    assert "v" * 60 in printed
    assert "a note" in printed
