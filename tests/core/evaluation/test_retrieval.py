"""The metrics and the split of the evaluation protocol."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbir.errors import UsageError
from cbir.evaluation.retrieval import accuracy, neighbours, score, split


def unit(rng: np.random.Generator, count: int, dimension: int) -> np.ndarray:
    vectors = rng.normal(size=(count, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_neighbours_are_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = unit(np.random.default_rng(0), 300, 16)
    whole = neighbours(vectors, vectors, 10, exclude_self=True)
    monkeypatch.setattr("cbir.evaluation.retrieval._CELLS", 300 * 7)
    assert (neighbours(vectors, vectors, 10, exclude_self=True) == whole).all()


@settings(max_examples=40, deadline=None)
@given(count=st.integers(3, 60), k=st.integers(1, 5), seed=st.integers(0, 99), alone=st.booleans())
def test_neighbours_are_those_of_a_full_sort(count: int, k: int, seed: int, alone: bool) -> None:
    rng = np.random.default_rng(seed)
    indexed = unit(rng, count, 8)
    queries = indexed if alone else unit(rng, 7, 8)
    k = min(k, count - 1)
    scores = queries @ indexed.T
    if alone:
        np.fill_diagonal(scores, -np.inf)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    assert (neighbours(queries, indexed, k, exclude_self=alone) == expected).all()


def test_the_metrics_of_a_worked_example() -> None:
    relevant = np.array([[1, 1, 0, 0, 0], [0, 0, 1, 1, 1], [0, 0, 0, 0, 0]], bool)
    found = accuracy(relevant)
    assert found.queries == 3
    assert found.precision_at_k == pytest.approx((0.4 + 0.6 + 0) / 3)
    assert found.hit_rate_at_1 == pytest.approx(1 / 3)
    assert found.hit_rate_at_k == pytest.approx(2 / 3)
    assert found.majority_at_k == pytest.approx(1 / 3)
    assert found.mrr_at_k == pytest.approx((1 + 1 / 3 + 0) / 3)


def test_some_rows_are_searched_with_others() -> None:
    vectors = np.repeat(np.eye(3, dtype=np.float32), 10, axis=0)
    labels = ["a"] * 10 + ["b"] * 10 + ["c"] * 10
    indexed, queries = np.arange(0, 30, 2), np.arange(1, 30, 2)
    assert score(vectors, labels, indexed, queries).precision_at_k == 1
    first, others = np.arange(5), np.arange(5, 10)
    mixed = ["a"] * 6 + ["b"] * 4
    assert score(vectors[:10], mixed, first, others).hit_rate_at_1 == pytest.approx(0.2), (
        "one of five is of the class a"
    )
    assert score(vectors[:10], mixed, others, first).hit_rate_at_1 == 1, "all are, and so is the first that they find"


def test_the_split_is_70_15_15_by_class_and_always_the_same() -> None:
    pytest.importorskip("sklearn", reason="the extra `export` is not installed")
    labels = ["a"] * 200 + ["b"] * 100
    parts = split(labels, 42)
    assert [len(part) for part in (parts.train, parts.validation, parts.test)] == [210, 45, 45]
    assert sorted(np.concatenate([parts.train, parts.validation, parts.test])) == list(range(300))
    assert sum(labels[row] == "a" for row in parts.test) == 30
    assert (split(labels, 42).test == parts.test).all()
    with pytest.raises(UsageError, match="all 30 images are of one class, 'a'"):
        split(["a"] * 30, 42)
    with pytest.raises(UsageError, match="'b' has 1 .*fewer classes"):
        split(["a"] * 30 + ["b"], 42)
