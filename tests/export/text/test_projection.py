"""A projection learns to find the image of a text, and keeps its best epoch."""

from dataclasses import replace

import numpy as np
import pytest

from cbir.evaluation.captions import ranks
from cbir.records import Vector
from tests.support.building import unit_vectors

torch = pytest.importorskip("torch", reason="the extra `export` is not installed")

from cbir.export.text import projection
from cbir.export.text.captions import CaptionTexts
from cbir.export.text.projection import Projection, project, train_projection

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore")]

COUNT, TEXTS, IMAGES = 60, 24, 16


@pytest.fixture(scope="module")
def made() -> tuple[Vector, CaptionTexts, Vector]:
    """Images that are a curved function of the vector of their only caption, with a mean that says nothing."""
    embedded = unit_vectors(COUNT, seed=1, dimension=TEXTS)
    rng = np.random.default_rng(2)
    images = np.tanh(3 * embedded @ rng.normal(size=(TEXTS, IMAGES))) + 2
    images = (images / np.linalg.norm(images, axis=1, keepdims=True)).astype(np.float32)
    numbers = np.arange(COUNT)
    return (
        images,
        CaptionTexts(
            [*map(str, numbers)], [[number] for number in numbers.tolist()], np.repeat(numbers[:, None], 6, 1)
        ),
        embedded,
    )


def _found(images: Vector, vectors: Vector) -> float:
    return float((ranks(vectors, images, np.arange(len(images))) == 0).mean())


def test_the_vectors_are_unit_vectors_and_orthogonal_to_the_mean() -> None:
    torch.manual_seed(0)
    module = Projection(torch.randn(TEXTS, IMAGES), torch.ones(IMAGES), 8)
    vectors = project(module, unit_vectors(5, seed=3, dimension=TEXTS))
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.allclose(vectors @ np.ones(IMAGES), 0, atol=1e-5)


def test_training_finds_more_images_than_the_linear_map_alone(
    made: tuple[Vector, CaptionTexts, Vector],
) -> None:
    images, texts, embedded = made
    trained = train_projection(images, texts, embedded, 0, hidden=64, epochs=120, seed=1)
    first = train_projection(images, texts, embedded, 0, hidden=64, epochs=1, seed=1)
    assert _found(images, project(trained.module, embedded)) > _found(images, project(first.module, embedded))
    assert _found(images, project(trained.module, embedded)) > 0.9
    assert (trained.epoch, first.epoch) == (120, 1)
    assert 0 < trained.scale <= 100


def test_the_same_seed_gives_the_same_projection(made: tuple[Vector, CaptionTexts, Vector]) -> None:
    vectors = [
        project(train_projection(*made, 10, hidden=8, epochs=3, seed=seed).module, made[2]) for seed in (4, 4, 5)
    ]
    assert np.array_equal(vectors[0], vectors[1])
    assert not np.array_equal(vectors[0], vectors[2])


def test_the_best_epoch_on_the_validation_part_is_kept(
    made: tuple[Vector, CaptionTexts, Vector], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, texts, embedded = made
    shares = iter([5, 0, 20])  # ranks after epochs 2, 4 and 6, all of the ten images alike; lower is better
    seen = []

    def made_up(queries: Vector, found: Vector, own: Vector) -> Vector:
        assert len(queries) == len(found) == len(own) == 12
        seen.append(queries.copy())
        return np.full(len(own), next(shares)) + np.arange(len(own))

    monkeypatch.setattr(projection, "ranks", made_up)
    trained = train_projection(images, texts, embedded, 12, hidden=8, epochs=6, seed=1)
    assert trained.epoch == 4
    assert np.allclose(project(trained.module, embedded[-12:]), seen[1], atol=1e-6)
    assert not np.allclose(seen[2], seen[1], atol=1e-6)


def test_a_training_of_ten_steps_has_a_warm_up(made: tuple[Vector, CaptionTexts, Vector]) -> None:
    """Torch divides by zero for a warm-up of one step."""
    trained = train_projection(*made, 0, hidden=8, epochs=10, seed=1)
    assert np.isfinite(project(trained.module, made[2])).all()


def test_shorter_captions_are_learned_as_well(made: tuple[Vector, CaptionTexts, Vector]) -> None:
    images, texts, embedded = made
    more = np.concatenate([embedded, unit_vectors(COUNT, seed=9, dimension=TEXTS)])
    shorter = replace(texts, shorter=np.repeat(np.arange(COUNT, 2 * COUNT)[:, None], 6, 1))
    trained = train_projection(images, shorter, more, 0, hidden=64, epochs=200, seed=1)
    assert _found(images, project(trained.module, more[COUNT:])) > 0.5
