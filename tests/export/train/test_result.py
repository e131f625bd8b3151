"""What a training leaves."""

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `export` is not installed")

from cbir.export.train.result import keep_result

from cbir.evaluation.result_files import latest
from cbir.evaluation.trainings import kept_trainings
from tests.support.trainings import trained_card

pytestmark = pytest.mark.export


def test_a_training_is_kept_next_to_the_others(tmp_path: Path) -> None:
    for card in (trained_card("a"), trained_card("b"), trained_card("a", precision=0.8)):
        keep_result(card, tmp_path)
    assert [(card.name, card.training.metrics["precision_at_5"]) for card in kept_trainings(tmp_path)] == [
        ("b", 0.9),
        ("a", 0.8),
    ]
    (report,), problems = latest(tmp_path)
    assert problems == []
    assert report.command.startswith("cbir-export")
    assert report.section is not None


def test_a_result_that_cannot_be_kept_costs_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    keep_result(trained_card(), tmp_path / "file" / "reports")
    (line,) = caplog.messages
    assert "was not kept for the page" in line
