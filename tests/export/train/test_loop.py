"""The training of a tiny network."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")

from cbir.export.backbone import load_backbone
from cbir.export.convert.to_onnx import export
from cbir.export.train import loop
from cbir.export.train.images import TrainingImages, prepare_images
from cbir.export.train.losses import LOSSES, Loss
from cbir.export.train.recipe import Recipe
from cbir.export.zoo import InputChoice, find_backbone

from cbir.errors import CbirError
from cbir.evaluation.embeddings import open_labelled
from cbir.sources.base import SourceOptions
from tests.support.trainings import RECIPE

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore")]

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def images(coloured: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingImages:
    items = open_labelled(str(coloured), SourceOptions())[1]
    rule = load_backbone(find_backbone(RECIPE.backbone), "random", InputChoice(None, 32)).rule
    return prepare_images(items, rule, tmp_path_factory.mktemp("pixels"), 40.0)


def train(images: TrainingImages, folder: Path, recipe: Recipe = RECIPE) -> tuple[loop.Trained, dict[str, Any]]:
    """Return what a training returns, and the tensors of its backbone."""
    folder.mkdir(exist_ok=True)
    loaded = load_backbone(find_backbone(recipe.backbone), "random", InputChoice(None, 32), recipe.seed)
    trained = loop.train(loaded, export(loaded), images, recipe, folder, CPU)
    return trained, copy.deepcopy(loaded.module.state_dict())


def require_same(a: tuple[loop.Trained, dict[str, Any]], b: tuple[loop.Trained, dict[str, Any]]) -> None:
    assert a[0].position == b[0].position
    assert a[0].after == b[0].after
    assert all(np.array_equal(x, y) for x, y in zip(a[0].head.layers[0], b[0].head.layers[0], strict=True))
    assert all(torch.equal(tensor, b[1][name]) for name, tensor in a[1].items())


def test_the_same_seed_gives_the_same_model(images: TrainingImages, tmp_path: Path) -> None:
    first, again = (train(images, tmp_path / name) for name in ("a", "b"))
    require_same(first, again)
    other = train(images, tmp_path / "c", replace(RECIPE, seed=7))
    assert other[0].position.losses != first[0].position.losses
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_training_learns_and_records_each_epoch(images: TrainingImages, tmp_path: Path) -> None:
    trained, _ = train(images, tmp_path, replace(RECIPE, epochs=6))
    position = trained.position
    assert position.losses[-1] < 0.5 * position.losses[0]
    assert len(position.losses) == len(position.precisions) == len(position.learning_rates) == 6
    assert position.precisions[position.best_epoch - 1] == max(position.precisions)
    assert trained.after.precision_at_k > 0.9  # chance is a third
    assert position.before is None  # of random weights


@pytest.mark.parametrize("stop", [2, 4, 6, 9])
def test_a_training_that_continues_is_the_one_that_was_not_interrupted(
    stop: int, images: TrainingImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch has four steps: the second is in the first epoch, and the fourth ends it."""
    expected = train(images, tmp_path / "whole")
    step, steps = loop._step, iter(range(100))
    monkeypatch.setattr(loop, "SECONDS_PER_CHECKPOINT", 0.0)

    def interrupted(*arguments: Any) -> float:
        if next(steps) == stop:
            raise KeyboardInterrupt
        return step(*arguments)

    monkeypatch.setattr(loop, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(images, tmp_path / "continued")
    require_same(expected, train(images, tmp_path / "continued"))
    assert sum(1 for _ in steps) == 100 - 1 - 12  # each step once


def test_a_training_stops_when_the_validation_no_longer_improves(images: TrainingImages, tmp_path: Path) -> None:
    trained, _ = train(images, tmp_path, replace(RECIPE, epochs=50, patience=2))
    position = trained.position
    assert len(position.losses) == position.best_epoch + 2 < 50


def test_a_loss_that_is_not_a_number_is_one_line(
    images: TrainingImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Loss(lambda vectors, targets, proxies: vectors.sum() * torch.nan)
    monkeypatch.setattr(loop, "LOSSES", {**LOSSES, "softmax": broken})
    with pytest.raises(CbirError, match="The loss is nan in step 1. Use a lower --learning-rate, and --restart"):
        train(images, tmp_path)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_trains_in_mixed_precision(name: str, images: TrainingImages, tmp_path: Path) -> None:
    trained, _ = train(images, tmp_path, replace(RECIPE, loss=name, bf16=True, augmentation="strong"))
    assert trained.position.losses[-1] < trained.position.losses[0]
    assert trained.after.precision_at_k > 0.6
