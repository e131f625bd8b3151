"""Intervals and tests: against SciPy, examples worked by hand, and what chance does."""

import numpy as np
import pytest
from cbir.bench.accuracy.significance import bootstrap, holm, interval, mcnemar, ranks, sign_flip
from hypothesis import given
from hypothesis import strategies as st

stats = pytest.importorskip("scipy.stats", reason="the extra `bench` is not installed")


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        values = (rng.random((150, 1)) < 0.7).astype(float)
        low, high = interval(bootstrap(values, 400, trial)[:, 0])
        covered += low <= 0.7 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_resamples_are_the_same_for_all_columns_and_repeatable() -> None:
    values = np.random.default_rng(2).random((80, 1))
    both = np.hstack([values, values + 1])
    drawn = bootstrap(both, 300, 5)
    assert np.allclose(drawn[:, 1] - drawn[:, 0], 1), "a paired difference that is always 1 has no spread"
    assert (drawn == bootstrap(both, 300, 5)).all() and (drawn != bootstrap(both, 300, 6)).any()
    assert abs(drawn[:, 0].mean() - values.mean()) < 0.02


def test_flipping_signs_agrees_with_scipy() -> None:
    rng = np.random.default_rng(3)
    differences = np.stack([rng.normal(0.0, 1, 60), rng.normal(0.35, 1, 60), rng.normal(2, 1, 60)], axis=1)
    ours = sign_flip(differences, 1)
    for at in range(3):
        theirs = stats.permutation_test(
            (differences[:, at],), np.mean, permutation_type="samples", n_resamples=9999, rng=np.random.default_rng(4)
        ).pvalue
        assert ours[at] == pytest.approx(theirs, abs=0.03)
    assert ours[2] == pytest.approx(1 / 10_001)


def test_no_difference_is_no_news() -> None:
    assert sign_flip(np.zeros((50, 1)), 1)[0] == 1
    right = np.random.default_rng(1).random(50) < 0.5
    assert mcnemar(right, right) == 1


@given(st.integers(0, 30), st.integers(0, 30))
def test_mcnemar_is_the_exact_binomial_test(only_first: int, only_second: int) -> None:
    first = np.array([True] * only_first + [False] * only_second + [True, False])
    second = np.array([False] * only_first + [True] * only_second + [True, False])
    total = only_first + only_second
    expected = stats.binomtest(only_first, total, 0.5).pvalue if total else 1.0
    assert mcnemar(first, second) == pytest.approx(expected)


def test_mcnemar_of_many_is_nearly_the_exact_one() -> None:
    first = np.array([True] * 700 + [False] * 620)
    assert mcnemar(first, ~first) == pytest.approx(stats.binomtest(700, 1320, 0.5).pvalue, rel=0.02)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1, 1]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_corrects_upwards(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(new >= old for new, old in zip(corrected, p_values, strict=True))
    assert [corrected[at] for at in np.argsort(p_values, kind="stable")] == sorted(corrected)


def test_what_cannot_be_told_apart_shares_a_rank() -> None:
    assert ranks(3, []) == [1, 1, 1]
    assert ranks(3, [(0, 2), (1, 2)]) == [1, 1, 3]
    assert ranks(3, [(0, 1), (0, 2), (1, 2)]) == [1, 2, 3]
