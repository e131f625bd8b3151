"""Intervals and tests: examples worked by hand, and what chance does."""

import numpy as np
import pytest
from cbir.bench.accuracy.significance import Pair, compare_models, holm, intervals, ranks, sign_flip
from cbir.bench.core.metrics import Ranking, per_query
from hypothesis import given
from hypothesis import strategies as st

stats = pytest.importorskip("scipy.stats", reason="the extra `bench` is not installed")


def pair(first: int, second: int, better: int | None) -> Pair:
    return Pair((first, second), 0.1, (0.0, 0.2), 0.5, 0.5, better)


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    values = (np.random.default_rng(1).random((200, 150)) < 0.7).astype(float)
    covered = sum(low <= 0.7 <= high for low, high in intervals(values, 400, 1))
    assert 0.88 <= covered / 200 <= 0.99


def test_resamples_are_the_same_for_all_rows_and_repeatable() -> None:
    values = np.random.default_rng(2).random((2, 80))
    rows = np.vstack([values, values[:1] + 1 - values[:1]])
    found = intervals(rows, 300, 5)
    assert found[2] == pytest.approx((1, 1)), "a paired difference that is always 1 has no spread"
    assert found == intervals(rows, 300, 5) and found[:2] != intervals(rows, 300, 6)[:2]
    assert intervals(values[:1], 300, 5)[0] == pytest.approx(found[0]), "an interval does not depend on the other rows"
    low, high = found[0]
    assert low < values[0].mean() < high


def test_flipping_signs_by_hand() -> None:
    assert sign_flip(np.ones(10), 1) == pytest.approx(2 / 2**10)
    assert sign_flip(np.array([1.0, 1.0, -1.0]), 1) == 1
    assert sign_flip(np.full(500, 0.2), 1) == pytest.approx(2 / 10_000), "p is never 0"


def test_flipping_signs_agrees_with_the_t_test_for_many_queries() -> None:
    rng = np.random.default_rng(3)
    for mean in (0.0, 0.2, 0.35):
        differences = rng.normal(mean, 1, 80)
        expected = stats.ttest_1samp(differences, 0).pvalue
        assert sign_flip(differences, 1) == pytest.approx(expected, abs=0.03)
        assert sign_flip(np.append(differences, np.zeros(40)), 1) == sign_flip(differences, 1)


def test_no_difference_is_no_evidence() -> None:
    assert sign_flip(np.zeros(50), 1) == 1
    assert sign_flip(np.array([0.0, 1.0, 0.0]), 1) == 1


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_corrects_upwards(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(new >= old for new, old in zip(corrected, p_values, strict=True))
    assert [corrected[index] for index in np.argsort(p_values, kind="stable")] == sorted(corrected)


def test_models_without_a_significant_difference_share_a_rank() -> None:
    assert ranks(3, [pair(0, 1, None), pair(0, 2, None), pair(1, 2, None)]) == [1, 1, 1]
    assert ranks(3, [pair(0, 1, None), pair(0, 2, 0), pair(1, 2, 1)]) == [1, 1, 3]
    assert ranks(3, [pair(0, 1, 1), pair(0, 2, 2), pair(1, 2, 2)]) == [3, 2, 1]


def test_equal_models_share_a_rank_and_a_better_one_does_not() -> None:
    rng = np.random.default_rng(1)
    good = per_query(Ranking(rng.random((400, 5)) < 0.9, np.full(400, 199)))
    poor = per_query(Ranking(rng.random((400, 5)) < 0.7, np.full(400, 199)))
    bounds, pairs = compare_models([poor, good, good], "precision_at_5", 500, 1)
    assert ranks(3, pairs) == [3, 1, 1]
    equal = next(pair for pair in pairs if pair.models == (1, 2))
    assert (equal.difference, equal.p, equal.better) == (0, 1, None)
    apart = next(pair for pair in pairs if pair.models == (0, 1))
    assert apart.better == 1 and apart.interval[1] < 0 and apart.p_holm < 0.01
    for values, intervals_ in zip((poor, good, good), bounds, strict=True):
        low, high = intervals_["precision_at_5"]
        assert low < values["precision_at_5"].mean() < high
