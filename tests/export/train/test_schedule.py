"""Batches, learning rates and seeds of a step."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `export` is not installed")

from cbir.export.train.schedule import batches_of, learning_rate_factor, seed_of

from cbir.errors import UsageError

pytestmark = pytest.mark.export


def recipe(batch_size: int = 8, seed: int = 1) -> Any:
    return SimpleNamespace(batch_size=batch_size, seed=seed)


@pytest.mark.parametrize("pairs", [False, True])
def test_an_epoch_has_each_row_once_in_its_own_order(pairs: bool) -> None:
    rows, targets = np.arange(10, 50), np.arange(60) % 7
    first, again, second = (batches_of(rows, targets, recipe(), pairs, epoch) for epoch in (0, 0, 1))
    assert sorted(np.concatenate(first)) == list(rows)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(np.concatenate(first), np.concatenate(second))
    assert [len(batch) for batch in first] == [8] * 5


def test_pairs_come_together() -> None:
    rows, targets = np.arange(400), np.arange(400) % 100
    share = {}
    for pairs in (False, True):
        batches = batches_of(rows, targets, recipe(), pairs, 0)
        share[pairs] = np.mean(
            [np.isin(targets[row], np.delete(targets[b], i)) for b in batches for i, row in enumerate(b)]
        )
    assert share[False] < 0.2
    assert share[True] > 0.95


@pytest.mark.parametrize(("images", "size", "sizes"), [(17, 8, [6, 6, 5]), (16, 8, [8, 8]), (3, 2, [3]), (2, 64, [2])])
def test_batches_are_even_and_none_has_one_image(images: int, size: int, sizes: list[int]) -> None:
    batches = batches_of(np.arange(images), np.zeros(images, int), recipe(size), False, 0)
    assert [len(batch) for batch in batches] == sizes


def test_a_single_image_is_refused() -> None:
    with pytest.raises(UsageError, match="at least two images"):
        batches_of(np.arange(1), np.zeros(1, int), recipe(), False, 0)


def test_the_learning_rate_rises_and_falls() -> None:
    factors = [learning_rate_factor(step, 100, 0.1) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == 1
    assert factors[55] == pytest.approx(0.5)
    assert 0 < factors[99] < 0.001
    assert factors[10:] == sorted(factors[10:], reverse=True)


def test_each_step_has_its_own_seed() -> None:
    assert len({seed_of(seed, step) for seed in range(10) for step in range(100)}) == 1000
    assert seed_of(1, 2) == seed_of(1, 2)
