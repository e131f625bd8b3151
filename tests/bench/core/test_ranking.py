"""The metrics on ranked lists: worked by hand, and what must hold for any list."""

import math
from collections.abc import Iterable
from random import Random

import pytest
from cbir.bench.core.ranking import (
    EPSILON,
    RBO_P,
    Ranking,
    first_difference,
    kendall_tau_b,
    overlap,
    rank_biased_overlap,
    recall,
    score_difference,
)
from hypothesis import given
from hypothesis import strategies as st

NOISE = EPSILON / 100


def ranking(*pairs: tuple[str, float]) -> Ranking:
    return Ranking(tuple(first for first, _ in pairs), tuple(score for _, score in pairs))


def test_recall_counts_scores_not_names() -> None:
    assert recall([0.9, 0.8, 0.8], 0.8, 3) == 1, "a tie at the cut is no miss"
    assert recall([0.9, 0.8, 0.8 - NOISE], 0.8, 3) == 1, "nor is rounding"
    assert recall([0.9, 0.8, 0.8 - 2 * EPSILON], 0.8, 3) == pytest.approx(2 / 3)
    assert recall([0.9], 0.8, 4) == 0.25, "missing hits are misses"
    assert recall([], 0.8, 2) == 0


def test_identical() -> None:
    first = ranking(("a", 0.9), ("b", 0.8), ("c", 0.7))
    assert first_difference(first, first) is None
    assert overlap(first, first, 3) == 1
    assert kendall_tau_b(first, first) == 1
    assert score_difference(first, first) == 0


def test_ties_inside_may_swap() -> None:
    first = ranking(("a", 0.9), ("b", 0.8), ("c", 0.8), ("d", 0.7))
    second = ranking(("a", 0.9), ("c", 0.8 + NOISE), ("b", 0.8), ("d", 0.7))
    assert first_difference(first, second) is None
    assert overlap(first, second, 4) == 1
    assert kendall_tau_b(first, second) == 1
    assert score_difference(first, second) == pytest.approx(NOISE)


def test_ties_at_the_cut_are_interchangeable() -> None:
    first = ranking(("a", 0.9), ("b", 0.8), ("c", 0.8))
    second = ranking(("a", 0.9), ("d", 0.8), ("e", 0.8 - NOISE))
    assert first_difference(first, second) is None
    assert overlap(first, second, 3) == 1
    assert kendall_tau_b(first, second) is None, "one common id has no order"


def test_ties_before_the_cut_are_not() -> None:
    first = ranking(("a", 0.9), ("b", 0.9), ("c", 0.8))
    second = ranking(("a", 0.9), ("x", 0.9), ("c", 0.8))
    assert first_difference(first, second) == (2, 0)
    assert overlap(first, second, 3) == pytest.approx(2 / 3)


def test_worse_hits_at_the_cut_differ_even_if_tied_among_themselves() -> None:
    first = ranking(("a", 0.9), ("b", 0.8), ("c", 0.8))
    second = ranking(("a", 0.9), ("x", 0.5), ("y", 0.5))
    assert first_difference(first, second) == (2, pytest.approx(0.3))
    assert overlap(first, second, 3) == pytest.approx(1 / 3)


def test_a_missed_best_hit_is_not_excused_by_ties_behind_it() -> None:
    first = ranking(("x", 0.9), ("y", 0.5))
    second = ranking(("z", 0.5), ("w", 0.5))
    assert first_difference(first, second) == (1, pytest.approx(0.4))
    assert overlap(first, second, 2) == 0.5, "y and z are interchangeable, x is missed"


def test_all_tied() -> None:
    first = ranking(("a", 0.5), ("b", 0.5), ("c", 0.5))
    second = ranking(("c", 0.5), ("d", 0.5), ("a", 0.5))
    assert first_difference(first, second) is None
    assert overlap(first, second, 3) == 1
    assert kendall_tau_b(first, second) is None, "nothing but ties has no order"


def test_reversed() -> None:
    first = ranking(("a", 0.9), ("b", 0.8), ("c", 0.7))
    second = ranking(("c", 0.7), ("b", 0.8), ("a", 0.9))
    assert first_difference(first, second) == (1, pytest.approx(0.2))
    assert kendall_tau_b(first, second) == -1
    assert overlap(first, second, 3) == 1, "the same hits"


def test_no_common_hits() -> None:
    first, second = ranking(("a", 0.9), ("b", 0.8)), ranking(("x", 0.4), ("y", 0.3))
    assert overlap(first, second, 2) == 0
    assert score_difference(first, second) is None
    assert kendall_tau_b(first, second) is None


def test_one_list_ends() -> None:
    first, second = ranking(("a", 0.9), ("b", 0.8)), ranking(("a", 0.9))
    assert first_difference(first, second) == first_difference(second, first) == (2, None)
    assert overlap(first, second, 2) == 0.5
    assert first_difference(ranking(), ranking()) is None
    assert first_difference(ranking(), second) == (1, None)
    assert overlap(ranking(), second, 1) == 0


def test_the_last_place_of_a_shorter_list_is_no_cut() -> None:
    first, second = ranking(("a", 0.9), ("b", 0.8), ("c", 0.7)), ranking(("a", 0.9), ("x", 0.8))
    assert first_difference(first, second) == (2, 0)


def test_wrong_scores_are_a_difference() -> None:
    first, second = ranking(("a", 0.9), ("b", 0.8)), ranking(("a", 0.9), ("b", 0.7))
    assert first_difference(first, second) == (2, pytest.approx(0.1))
    assert score_difference(first, second) == pytest.approx(0.1)


def test_tau_b_worked_by_hand() -> None:
    # pairs: ab opposite; ac, ad, bd, cd the same; bc tied in the first list: (4 - 1) / sqrt((6 - 1) * 6)
    first = ranking(("a", 0.9), ("b", 0.8), ("c", 0.8), ("d", 0.7))
    second = ranking(("b", 0.9), ("a", 0.8), ("c", 0.7), ("d", 0.6))
    assert kendall_tau_b(first, second) == pytest.approx(3 / math.sqrt(30))


def test_rounding_at_the_width_of_a_tie_parts_nothing() -> None:
    first = ranking(("a", 0.5), ("b", 0.5 - EPSILON - NOISE), ("c", 0.4))
    second = ranking(("b", 0.5), ("a", 0.5 - EPSILON + NOISE), ("c", 0.4))
    assert first_difference(first, second) is None
    assert rank_biased_overlap(first, second) == pytest.approx(1)


def falling(ids: Iterable[str], best: float = 1) -> Ranking:
    """A ranking without ties."""
    ids = tuple(ids)
    return Ranking(ids, tuple(best - index / 100 for index in range(len(ids))))


def test_rank_biased_overlap_worked_by_hand() -> None:
    # agreement 0, 1, 1: 0.9**3 + 0.1 / 0.9 * (0.9**2 + 0.9**3)
    assert rank_biased_overlap(falling("abc"), falling("bac")) == pytest.approx(0.9)
    # the same with p = 0.5: 0.125 + 0.25 + 0.125
    assert rank_biased_overlap(falling("abc"), falling("bac"), 0.5) == pytest.approx(0.5)
    # agreement 1, 1/2, and 2/3 + 1/6 where the shorter list has ended: 5/6 * 0.729 + (0.9 + 0.405 + 0.6075) / 9
    assert rank_biased_overlap(falling("ab"), falling("acb")) == pytest.approx(0.82)
    # agreement 1, 1/2, 1/3, 1/4
    expected = 0.6561 / 4 + (0.9 + 0.81 / 2 + 0.729 / 3 + 0.6561 / 4) / 9
    assert rank_biased_overlap(falling("abcd"), falling("axyz", 0.5)) == pytest.approx(expected)


def test_rank_biased_overlap_with_ties_worked_by_hand() -> None:
    # b and c both stand at rank 2 of the first list: agreement 1, 2 * 2 / (3 + 2), 1
    first, second = ranking(("a", 0.9), ("b", 0.8), ("c", 0.8)), ranking(("a", 0.9), ("b", 0.8), ("c", 0.7))
    assert rank_biased_overlap(first, second) == pytest.approx(0.729 + (0.9 + 0.8 * 0.81 + 0.729) / 9)
    second = ranking(("a", 0.9), ("d", 0.8), ("e", 0.8 - NOISE))
    assert rank_biased_overlap(first, second) == pytest.approx(1), "which of the last place's ties got in is chance"
    second = ranking(("a", 0.9), ("d", 0.7), ("e", 0.7))
    assert rank_biased_overlap(first, second) == pytest.approx(0.729 / 3 + (0.9 + 0.81 / 3 + 0.729 / 3) / 9), (
        "worse hits"
    )


def test_rank_biased_overlap_of_nothing() -> None:
    assert rank_biased_overlap(ranking(), ranking()) is None
    assert rank_biased_overlap(ranking(), falling("ab")) == rank_biased_overlap(falling("ab"), ranking()) == 0


@given(st.permutations("abcdefgh"), st.permutations("abcdefghijkl"), st.integers(1, 8), st.integers(8, 12))
def test_rank_biased_overlap_is_equation_32(first: list[str], second: list[str], short: int, long: int) -> None:
    left, right = first[:short], second[:long]
    shared = [len(set(left[:d]) & set(right[:d])) for d in range(long + 1)]
    inner = sum(shared[d] / d * RBO_P**d for d in range(1, long + 1))
    beyond = sum(shared[short] * (d - short) / (short * d) * RBO_P**d for d in range(short + 1, long + 1))
    tail = ((shared[long] - shared[short]) / long + shared[short] / short) * RBO_P**long
    expected = (1 - RBO_P) / RBO_P * (inner + beyond) + tail
    assert rank_biased_overlap(falling(left), falling(right, 0.6)) == pytest.approx(expected)


@st.composite
def rankings(draw: st.DrawFn, least: int = 1) -> Ranking:
    """Random lists on a coarse grid of scores, so that many are tied."""
    ids = draw(st.lists(st.integers(0, 15).map(str), min_size=least, max_size=8, unique=True))
    scores = draw(st.lists(st.integers(0, 6), min_size=len(ids), max_size=len(ids)))
    return Ranking(tuple(ids), tuple(score / 10 for score in sorted(scores, reverse=True)))


@given(rankings(), rankings())
def test_the_metrics_are_symmetric_and_bounded(first: Ranking, second: Ranking) -> None:
    k = max(len(first.ids), len(second.ids))
    assert overlap(first, second, k) == overlap(second, first, k)
    assert len(set(first.ids) & set(second.ids)) / k <= overlap(first, second, k) <= 1
    assert (first_difference(first, second) is None) == (first_difference(second, first) is None)
    assert score_difference(first, second) == score_difference(second, first)
    tau = kendall_tau_b(first, second)
    assert tau == pytest.approx(kendall_tau_b(second, first), abs=1e-12)
    assert tau is None or -1 <= tau <= 1 + 1e-12


@given(rankings(), rankings())
def test_rank_biased_overlap_is_symmetric_and_bounded(first: Ranking, second: Ranking) -> None:
    found = rank_biased_overlap(first, second)
    assert found == pytest.approx(rank_biased_overlap(second, first))
    assert found is not None
    assert 0 <= found <= 1 + 1e-12
    assert rank_biased_overlap(first, first) == pytest.approx(1)
    disjoint = Ranking(tuple(f"not {id_}" for id_ in second.ids), tuple(score - 1 for score in second.scores))
    assert rank_biased_overlap(first, disjoint) == 0


@given(rankings(), rankings(), st.randoms(use_true_random=False))
def test_permuted_ties_do_not_change_the_rank_biased_overlap(first: Ranking, second: Ranking, random: Random) -> None:
    pairs = sorted(zip(first.ids, first.scores, strict=True), key=lambda pair: (-pair[1], random.random()))
    permuted = Ranking(tuple(id_ for id_, _ in pairs), first.scores)
    assert rank_biased_overlap(permuted, second) == pytest.approx(rank_biased_overlap(first, second))


@given(rankings(), rankings())
def test_no_difference_means_full_overlap(first: Ranking, second: Ranking) -> None:
    if first_difference(first, second) is None:
        assert overlap(first, second, len(first.ids)) == 1
        assert rank_biased_overlap(first, second) == pytest.approx(1)
        assert kendall_tau_b(first, second) in (None, pytest.approx(1))


@given(rankings(), st.randoms(use_true_random=False))
def test_shuffled_ties_make_no_difference(first: Ranking, random: object) -> None:
    pairs = [(-score, random.random(), id_) for id_, score in zip(first.ids, first.scores, strict=True)]  # type: ignore[attr-defined]
    pairs.sort()
    second = Ranking(tuple(id_ for _, _, id_ in pairs), tuple(-score + NOISE for score, _, _ in pairs))
    assert first_difference(first, second) is None
    assert overlap(first, second, len(first.ids)) == 1
    assert rank_biased_overlap(first, second) == pytest.approx(1)


@given(rankings(least=2), st.data())
def test_a_swap_of_unequal_hits_is_found(first: Ranking, data: st.DataObject) -> None:
    falls = [index for index in range(len(first.ids) - 1) if first.scores[index] - first.scores[index + 1] > EPSILON]
    if falls:
        index = data.draw(st.sampled_from(falls))
        ids = [*first.ids[:index], first.ids[index + 1], first.ids[index], *first.ids[index + 2 :]]
        order = [first.ids.index(id_) for id_ in ids]
        swapped = Ranking(tuple(ids), tuple(first.scores[row] for row in order))
        assert first_difference(first, swapped) is not None
        overlapping = rank_biased_overlap(first, swapped)
        assert overlapping is not None
        assert overlapping < 1
        tau = kendall_tau_b(first, swapped)
        assert tau is not None
        assert tau < 1


@given(rankings(), st.data())
def test_a_missed_hit_is_found(first: Ranking, data: st.DataObject) -> None:
    k = len(first.ids)
    index = data.draw(st.integers(0, k - 1))
    worse = first.scores[-1] - 0.1
    missed = Ranking(
        (*first.ids[:index], *first.ids[index + 1 :], "other"),
        (*first.scores[:index], *first.scores[index + 1 :], worse),
    )
    assert recall(missed.scores, first.scores[-1], k) == pytest.approx(1 - 1 / k)
    assert overlap(first, missed, k) == pytest.approx(1 - 1 / k)
    assert first_difference(first, missed) is not None
