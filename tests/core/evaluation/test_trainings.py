"""The trainings of this machine as one result."""

from dataclasses import replace
from pathlib import Path

import pytest

from cbir.evaluation.result_files import keep, latest
from cbir.evaluation.sections import Curves
from cbir.evaluation.trainings import RESULT, add_training, as_section, kept_trainings
from cbir.models.card import ModelCard
from tests.support.sections import cells
from tests.support.trainings import trained_card

CARDS = [trained_card("a", 0.8), trained_card("b", 0.95, "squeezenet1_1")]


def test_a_result_is_the_same_after_saving_and_loading(tmp_path: Path) -> None:
    result = add_training(CARDS[0], tmp_path)
    keep(RESULT.dump_python(result, mode="json"), tmp_path, section=as_section(result.models))
    assert kept_trainings(tmp_path) == CARDS[:1]
    assert [card.name for card in add_training(CARDS[1], tmp_path).models] == ["a", "b"]
    assert len(add_training(CARDS[0], tmp_path).models) == 1
    other = trained_card("a", 0.7, "swin_tiny")
    both = add_training(other, tmp_path)
    assert both.models == [CARDS[0], other], "another recipe with the same file name"
    assert cells(as_section(both.models), "", "model") == ["a", "a (2)"]


def test_a_result_of_another_version_is_no_training(tmp_path: Path) -> None:
    assert kept_trainings(tmp_path) == []
    keep({"benchmark": "train", "models": [{"name": "x"}]}, tmp_path)
    assert latest(tmp_path)[1] == []
    assert kept_trainings(tmp_path) == []
    readable = RESULT.dump_python(add_training(CARDS[0], tmp_path), mode="json")
    keep({**readable, "models": [{"name": "x"}, *readable["models"]]}, tmp_path)
    assert kept_trainings(tmp_path) == CARDS[:1], "one that cannot be read does not hide the others"


def test_the_section_has_the_best_first_and_a_curve_for_each_model() -> None:
    section = as_section(CARDS)
    assert section.verdicts == ["b finds best of the models trained on 700 images of photos: test P@5 0.9500."]
    assert cells(section, "", "test P@5") == [0.95, 0.8]
    assert cells(section, "", "best") == [2, 2]
    losses, errors = (part for part in section.parts if isinstance(part, Curves))
    assert [(point.x, point.y) for point in losses.series["a"]] == [(1, 2.0), (2, 1.0), (3, 0.5)]
    assert [point.y for point in errors.series["b"]] == pytest.approx([0.5, 1e-4, 0.1])


def test_a_model_with_a_head_alone_is_left_out(head_card: ModelCard) -> None:
    assert cells(as_section([head_card, CARDS[0]]), "", "model") == ["a"]


@pytest.fixture
def head_card() -> ModelCard:
    card = trained_card("head")
    assert card.training is not None
    return replace(card, training=replace(card.training, kind="head", run=None))


def test_models_trained_on_different_images_are_not_ranked_with_each_other() -> None:
    easy = trained_card("cats", 0.99)
    assert easy.training is not None and easy.training.run is not None
    run = replace(easy.training.run, data_sha256="ef" * 32)
    easy = replace(easy, training=replace(easy.training, data="cats", images=90, run=run))
    section = as_section([*CARDS, easy])
    assert section.verdicts == [
        "cats finds best of the models trained on 90 images of cats: test P@5 0.9900.",
        "b finds best of the models trained on 700 images of photos: test P@5 0.9500.",
    ]
    assert cells(section, "", "images of") == ["cats", "photos", "photos"]
