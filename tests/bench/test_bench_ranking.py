"""The metrics on ranked lists: worked by hand, and what must hold for any list."""

import math
from collections.abc import Iterable
from random import Random

import numpy as np
import pytest
from cbir.bench.core.ground_truth import answer, copies
from cbir.bench.core.metrics import Query, Summary, summarise
from cbir.bench.core.ranking import (
    EPSILON,
    RBO_P,
    Difference,
    Ranking,
    first,
    first_difference,
    kendall_tau_b,
    overlap,
    rank_biased_overlap,
    recall,
    score_difference,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.support.building import unit_vectors

NOISE = EPSILON / 100


def ranking(*pairs: tuple[str, float]) -> Ranking:
    return Ranking(tuple(one for one, _ in pairs), tuple(score for _, score in pairs))


def test_recall_counts_scores_not_names() -> None:
    assert recall([0.9, 0.8, 0.8], 0.8, 3) == 1, "a tie at the cut is no miss"
    assert recall([0.9, 0.8, 0.8 - NOISE], 0.8, 3) == 1, "nor is rounding"
    assert recall([0.9, 0.8, 0.8 - 2 * EPSILON], 0.8, 3) == pytest.approx(2 / 3)
    assert recall([0.9], 0.8, 4) == 0.25, "missing hits are misses"
    assert recall([], 0.8, 2) == 0


def test_identical() -> None:
    one = ranking(("a", 0.9), ("b", 0.8), ("c", 0.7))
    assert first_difference(one, one) is None
    assert overlap(one, one, 3) == 1
    assert kendall_tau_b(one, one) == 1
    assert score_difference(one, one) == 0


def test_ties_inside_may_swap() -> None:
    one = ranking(("a", 0.9), ("b", 0.8), ("c", 0.8), ("d", 0.7))
    other = ranking(("a", 0.9), ("c", 0.8 + NOISE), ("b", 0.8), ("d", 0.7))
    assert first_difference(one, other) is None
    assert overlap(one, other, 4) == 1
    assert kendall_tau_b(one, other) == 1
    assert score_difference(one, other) == pytest.approx(NOISE)


def test_ties_at_the_cut_are_interchangeable() -> None:
    one = ranking(("a", 0.9), ("b", 0.8), ("c", 0.8))
    other = ranking(("a", 0.9), ("d", 0.8), ("e", 0.8 - NOISE))
    assert first_difference(one, other) is None
    assert overlap(one, other, 3) == 1
    assert kendall_tau_b(one, other) is None, "one common id has no order"


def test_ties_before_the_cut_are_not() -> None:
    one = ranking(("a", 0.9), ("b", 0.9), ("c", 0.8))
    other = ranking(("a", 0.9), ("x", 0.9), ("c", 0.8))
    assert first_difference(one, other) == Difference(2, 0)
    assert overlap(one, other, 3) == pytest.approx(2 / 3)


def test_worse_hits_at_the_cut_differ_even_if_tied_among_themselves() -> None:
    one = ranking(("a", 0.9), ("b", 0.8), ("c", 0.8))
    other = ranking(("a", 0.9), ("x", 0.5), ("y", 0.5))
    found = first_difference(one, other)
    assert found is not None
    assert (found.rank, found.delta) == (2, pytest.approx(0.3))
    assert overlap(one, other, 3) == pytest.approx(1 / 3)


def test_a_missed_best_hit_is_not_excused_by_ties_behind_it() -> None:
    one = ranking(("x", 0.9), ("y", 0.5))
    other = ranking(("z", 0.5), ("w", 0.5))
    found = first_difference(one, other)
    assert found is not None
    assert (found.rank, found.delta) == (1, pytest.approx(0.4))
    assert overlap(one, other, 2) == 0.5, "y and z are interchangeable, x is missed"


def test_all_tied() -> None:
    one = ranking(("a", 0.5), ("b", 0.5), ("c", 0.5))
    other = ranking(("c", 0.5), ("d", 0.5), ("a", 0.5))
    assert first_difference(one, other) is None
    assert overlap(one, other, 3) == 1
    assert kendall_tau_b(one, other) is None, "nothing but ties has no order"


def test_reversed() -> None:
    one = ranking(("a", 0.9), ("b", 0.8), ("c", 0.7))
    other = ranking(("c", 0.7), ("b", 0.8), ("a", 0.9))
    found = first_difference(one, other)
    assert found is not None
    assert (found.rank, found.delta) == (1, pytest.approx(0.2))
    assert kendall_tau_b(one, other) == -1
    assert overlap(one, other, 3) == 1, "the same hits"


def test_no_common_hits() -> None:
    one, other = ranking(("a", 0.9), ("b", 0.8)), ranking(("x", 0.4), ("y", 0.3))
    assert overlap(one, other, 2) == 0
    assert score_difference(one, other) is None
    assert kendall_tau_b(one, other) is None


def test_one_list_ends() -> None:
    one, other = ranking(("a", 0.9), ("b", 0.8)), ranking(("a", 0.9))
    assert first_difference(one, other) == first_difference(other, one) == Difference(2, None)
    assert overlap(one, other, 2) == 0.5
    assert first_difference(ranking(), ranking()) is None
    assert first_difference(ranking(), other) == Difference(1, None)
    assert overlap(ranking(), other, 1) == 0


def test_the_last_place_of_a_shorter_list_is_no_cut() -> None:
    one, other = ranking(("a", 0.9), ("b", 0.8), ("c", 0.7)), ranking(("a", 0.9), ("x", 0.8))
    assert first_difference(one, other) == Difference(2, 0)


def test_wrong_scores_are_a_difference() -> None:
    one, other = ranking(("a", 0.9), ("b", 0.8)), ranking(("a", 0.9), ("b", 0.7))
    found = first_difference(one, other)
    assert found is not None
    assert (found.rank, found.delta) == (2, pytest.approx(0.1))
    assert score_difference(one, other) == pytest.approx(0.1)


def test_tau_b_worked_by_hand() -> None:
    # pairs: ab opposite; ac, ad, bd, cd the same; bc tied in the first list: (4 - 1) / sqrt((6 - 1) * 6)
    one = ranking(("a", 0.9), ("b", 0.8), ("c", 0.8), ("d", 0.7))
    other = ranking(("b", 0.9), ("a", 0.8), ("c", 0.7), ("d", 0.6))
    assert kendall_tau_b(one, other) == pytest.approx(3 / math.sqrt(30))


def test_rounding_at_the_width_of_a_tie_parts_nothing() -> None:
    one = ranking(("a", 0.5), ("b", 0.5 - EPSILON - NOISE), ("c", 0.4))
    other = ranking(("b", 0.5), ("a", 0.5 - EPSILON + NOISE), ("c", 0.4))
    assert first_difference(one, other) is None
    assert rank_biased_overlap(one, other) == pytest.approx(1)


def test_a_ranking_is_a_ranking() -> None:
    with pytest.raises(ValueError, match="distinct"):
        Ranking(("a", "a"), (0.9, 0.8))
    with pytest.raises(ValueError, match="score for each"):
        Ranking(("a",), ())


def falling(ids: Iterable[str], best: float = 1) -> Ranking:
    """A ranking without ties."""
    ids = tuple(ids)
    return Ranking(ids, tuple(best - at / 100 for at in range(len(ids))))


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
    one, other = ranking(("a", 0.9), ("b", 0.8), ("c", 0.8)), ranking(("a", 0.9), ("b", 0.8), ("c", 0.7))
    assert rank_biased_overlap(one, other) == pytest.approx(0.729 + (0.9 + 0.8 * 0.81 + 0.729) / 9)
    other = ranking(("a", 0.9), ("d", 0.8), ("e", 0.8 - NOISE))
    assert rank_biased_overlap(one, other) == pytest.approx(1), "which of the last place's ties got in is chance"
    other = ranking(("a", 0.9), ("d", 0.7), ("e", 0.7))
    assert rank_biased_overlap(one, other) == pytest.approx(0.729 / 3 + (0.9 + 0.81 / 3 + 0.729 / 3) / 9), "worse hits"


def test_rank_biased_overlap_of_nothing() -> None:
    assert rank_biased_overlap(ranking(), ranking()) is None
    assert rank_biased_overlap(ranking(), falling("ab")) == rank_biased_overlap(falling("ab"), ranking()) == 0


@given(st.permutations("abcdefgh"), st.permutations("abcdefghijkl"), st.integers(1, 8), st.integers(8, 12))
def test_rank_biased_overlap_is_equation_32(one: list[str], other: list[str], short: int, long: int) -> None:
    left, right = one[:short], other[:long]
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
def test_the_metrics_are_symmetric_and_bounded(one: Ranking, other: Ranking) -> None:
    k = max(len(one.ids), len(other.ids))
    assert overlap(one, other, k) == overlap(other, one, k)
    assert len(set(one.ids) & set(other.ids)) / k <= overlap(one, other, k) <= 1
    assert (first_difference(one, other) is None) == (first_difference(other, one) is None)
    assert score_difference(one, other) == score_difference(other, one)
    tau = kendall_tau_b(one, other)
    assert tau == kendall_tau_b(other, one)
    assert tau is None or -1 <= tau <= 1 + 1e-12


@given(rankings(), rankings())
def test_rank_biased_overlap_is_symmetric_and_bounded(one: Ranking, other: Ranking) -> None:
    found = rank_biased_overlap(one, other)
    assert found == pytest.approx(rank_biased_overlap(other, one))
    assert found is not None
    assert 0 <= found <= 1 + 1e-12
    assert rank_biased_overlap(one, one) == pytest.approx(1)
    disjoint = Ranking(tuple(f"not {id_}" for id_ in other.ids), tuple(score - 1 for score in other.scores))
    assert rank_biased_overlap(one, disjoint) == 0


@given(rankings(), rankings(), st.randoms(use_true_random=False))
def test_permuted_ties_do_not_change_the_rank_biased_overlap(one: Ranking, other: Ranking, random: Random) -> None:
    pairs = sorted(zip(one.ids, one.scores, strict=True), key=lambda pair: (-pair[1], random.random()))
    permuted = Ranking(tuple(id_ for id_, _ in pairs), one.scores)
    assert rank_biased_overlap(permuted, other) == pytest.approx(rank_biased_overlap(one, other))


@given(rankings(), rankings())
def test_no_difference_means_full_overlap(one: Ranking, other: Ranking) -> None:
    if first_difference(one, other) is None:
        assert overlap(one, other, len(one.ids)) == 1
        assert rank_biased_overlap(one, other) == pytest.approx(1)
        assert kendall_tau_b(one, other) in (None, pytest.approx(1))


@given(rankings(), st.randoms(use_true_random=False))
def test_shuffled_ties_make_no_difference(one: Ranking, random: object) -> None:
    pairs = [(-score, random.random(), id_) for id_, score in zip(one.ids, one.scores, strict=True)]  # type: ignore[attr-defined]
    pairs.sort()
    other = Ranking(tuple(id_ for _, _, id_ in pairs), tuple(-score + NOISE for score, _, _ in pairs))
    assert first_difference(one, other) is None
    assert overlap(one, other, len(one.ids)) == 1
    assert rank_biased_overlap(one, other) == pytest.approx(1)


def test_first() -> None:
    assert first(falling("abc"), 2) == falling("ab")
    assert first(falling("ab"), 5) == falling("ab")


@given(rankings(least=2), st.data())
def test_a_swap_of_unequal_hits_is_found(one: Ranking, data: st.DataObject) -> None:
    falls = [at for at in range(len(one.ids) - 1) if one.scores[at] - one.scores[at + 1] > EPSILON]
    if falls:
        at = data.draw(st.sampled_from(falls))
        ids = [*one.ids[:at], one.ids[at + 1], one.ids[at], *one.ids[at + 2 :]]
        order = [one.ids.index(id_) for id_ in ids]
        swapped = Ranking(tuple(ids), tuple(one.scores[where] for where in order))
        assert first_difference(one, swapped) is not None
        overlapping = rank_biased_overlap(one, swapped)
        assert overlapping is not None
        assert overlapping < 1
        tau = kendall_tau_b(one, swapped)
        assert tau is not None
        assert tau < 1


@given(rankings(), st.data())
def test_a_missed_hit_is_found(one: Ranking, data: st.DataObject) -> None:
    k = len(one.ids)
    at = data.draw(st.integers(0, k - 1))
    worse = one.scores[-1] - 0.1
    missed = Ranking((*one.ids[:at], *one.ids[at + 1 :], "other"), (*one.scores[:at], *one.scores[at + 1 :], worse))
    assert recall(missed.scores, one.scores[-1], k) == pytest.approx(1 - 1 / k)
    assert overlap(one, missed, k) == pytest.approx(1 - 1 / k)
    assert first_difference(one, missed) is not None


def test_the_oracle_is_a_full_sort() -> None:
    vectors = unit_vectors(500, dimension=16)
    vectors[7] = vectors[8] = vectors[9]
    ids = [str(number) for number in range(500)]
    queries = np.array([7, 100, 499])
    for k in (1, 2, 10, 499):
        truth = answer(ids, vectors, queries, k)
        for number, query in enumerate(queries):
            scores = np.delete(vectors.astype(np.float64) @ vectors[query].astype(np.float64), query)
            assert truth.threshold[number] == pytest.approx(np.sort(scores)[-k], abs=1e-12)
            assert truth.scores(number, ["3", "8"])[0] == pytest.approx(vectors[3] @ vectors[query], abs=1e-6)
    assert answer(ids, vectors, queries, 1).tied.tolist() == [True, False, False], "two copies for the first place"
    assert not answer(ids, vectors, queries, 499).tied.any(), "nothing is left to be tied"
    assert copies(vectors) == 2


def test_the_oracle_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, ids, queries = unit_vectors(300), [str(number) for number in range(300)], np.arange(40)
    whole = answer(ids, vectors, queries, 10)
    monkeypatch.setattr("cbir.bench.core.ground_truth._CELLS", 40 * 7)
    assert answer(ids, vectors, queries, 10).threshold == pytest.approx(whole.threshold, abs=1e-12)


def test_summary() -> None:
    queries = [Query(str(number), None) for number in range(4)]
    found = summarise([1.0, 0.2, None, 0.6], queries)
    assert (found.mean, found.worst, found.worst_query, found.undefined) == (pytest.approx(0.6), 0.2, queries[1], 1)
    assert found.p5 == pytest.approx(0.24)
    lower = summarise([0.1, 0.2, 0.3, None], queries, better="lower")
    assert (lower.worst, lower.worst_query, lower.p5) == (0.3, queries[2], pytest.approx(0.29))
    assert summarise([None] * 4, queries) == Summary(None, None, None, None, 4)
