"""The metrics of ranked hits: beside another library's, and what must hold for any ranking."""

import ir_measures
import numpy as np
import pytest
from cbir.bench.core.metrics import Ranking, Summary, definitions, means, per_query, summarise
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, RR, P, R, Success, nDCG


@st.composite
def rankings(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Which of the k hits of some queries are relevant, and how many relevant ones there are."""
    k = draw(st.sampled_from([1, 3, 5, 10]))
    rows = draw(st.lists(st.lists(st.booleans(), min_size=k, max_size=k), min_size=1, max_size=6))
    relevant = np.array(rows)
    beyond = draw(st.lists(st.integers(0, 8), min_size=len(rows), max_size=len(rows)))
    return relevant, relevant.sum(axis=1) + np.array(beyond)


@settings(max_examples=60, deadline=None)
@given(rankings())
def test_metrics_are_those_of_another_library(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    relevant, possible = drawn
    k = relevant.shape[1]
    ours = per_query(Ranking(relevant, possible))
    names = {
        P @ k: f"precision_at_{k}",
        RR @ k: f"mrr_at_{k}",
        AP @ k: f"map_at_{k}",
        R @ k: f"recall_at_{k}",
        nDCG @ k: f"ndcg_at_{k}",
        Success @ 1: "hit_rate_at_1",
        Success @ k: f"hit_rate_at_{k}",
    }
    for query, (row, count) in enumerate(zip(relevant, possible, strict=True)):
        if not count:
            assert all(values[query] == 0 for values in ours.values())
            continue
        run = {"q": {f"hit {rank}": float(k - rank) for rank in range(k)}}
        judged = {f"hit {rank}": 1 for rank in np.flatnonzero(row)}
        judged |= {f"missed {number}": 1 for number in range(count - row.sum())}
        theirs = ir_measures.calc_aggregate(list(names), {"q": judged}, run)
        for metric, name in names.items():
            assert ours[name][query] == pytest.approx(theirs[metric]), name


@given(rankings())
def test_every_metric_is_defined_and_none_is_above_one(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    relevant, possible = drawn
    k = relevant.shape[1]
    found = means(per_query(Ranking(relevant, possible)))
    assert set(found) == set(definitions(k))
    assert all(0 <= value <= 1 + 1e-9 for value in found.values())
    assert found[f"precision_at_{k}"] <= found[f"precision_of_possible_at_{k}"] + 1e-9
    classes = np.arange(len(relevant)) % 2
    by_class = [relevant[classes == number].mean() * (classes == number).mean() for number in np.unique(classes)]
    assert found[f"precision_at_{k}"] == pytest.approx(sum(by_class))


def test_summary() -> None:
    assert summarise([1.0, 0.2, None, 0.6]) == Summary(pytest.approx(0.6), 0.2, 0.2)
    lower = summarise([0.1, 0.2, 0.3, None], better="lower")
    assert (lower.worst, lower.p5) == (0.3, 0.3)
    many = [0.1] * 49 + [0.2] + [1.0] * 950
    assert summarise(many).p5 == 0.2 and summarise([1 - value for value in many], "lower").p5 == 0.8, "no value between"
    assert summarise([0.8] * 60).mean == 0.8, "in spite of rounding"
    assert summarise([None] * 4) == Summary(None, None, None)
