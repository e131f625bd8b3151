"""Stores searched for ann-benchmarks."""

import numpy as np
import pytest
from cbir.bench.core.ranking import EPSILON, recall
from cbir.bench.core.workload import workload_of
from cbir.bench.exchange.measure import cases, exact_neighbours, mean_recall, measure, neighbours

from cbir.errors import CbirError
from cbir.records import Hit, Vector
from cbir.stores.base import SearchParams, Store
from tests.support.bench_stores import AlteredStore, altered
from tests.support.exchange import ANN_EPSILON, QUERIES, K, ann_recall


def silent_advance(count: int) -> None:
    """Show no progress."""


def test_recall_is_cbirs_own_on_the_same_hits(store: Store) -> None:
    workload = workload_of([store], K, QUERIES, 3)
    truth = exact_neighbours(workload.truth)
    (case,) = searches = cases(workload, [1])
    measure(workload, searches, 1, silent_advance)
    found = neighbours(workload.truth, case.rows)
    assert case.failed == ""
    ours = []
    for number, vector in enumerate(workload.vectors):
        (hits,) = store.search(vector[None], K, params=SearchParams(ef=1))
        (exact,) = store.search(vector[None], K, params=SearchParams(exact=True))
        scores = workload.truth.scores(number, [hit.id for hit in hits])
        (last,) = workload.truth.scores(number, [exact[-1].id])
        ours.append([recall(scores, last, K, epsilon) for epsilon in (ANN_EPSILON, EPSILON)])
    theirs = ann_recall(truth.distances, found.distances, K, ANN_EPSILON)
    assert [theirs, mean_recall(truth, found)] == pytest.approx(np.mean(ours, axis=0))
    assert mean_recall(truth, truth) == 1


def test_exact_neighbours_are_the_nearest_with_their_distances(store: Store) -> None:
    truth = workload_of([store], K, QUERIES, 3).truth
    found = exact_neighbours(truth)
    assert (found.rows == truth.nearest).all()
    scores = truth.queries.astype(np.float64) @ truth.vectors.astype(np.float64).T
    assert found.distances == pytest.approx(1 - np.take_along_axis(scores, found.rows, axis=1), abs=1e-6)


def test_missing_hits_are_padded(store: Store) -> None:
    workload = workload_of([altered(store, lambda hits: hits[:5])], K, 10, 1)
    (case,) = searches = cases(workload, [16])
    measure(workload, searches, 1, silent_advance)
    found = neighbours(workload.truth, case.rows)
    assert (found.rows[:, 5:] == -1).all() and (found.rows[:, :5] >= 0).all()
    assert np.isinf(found.distances[:, 5:]).all()
    assert mean_recall(exact_neighbours(workload.truth), found) == pytest.approx(5 / K)


def test_a_case_that_fails_says_why_and_has_no_numbers(store: Store) -> None:
    def search(store: Store, vectors: Vector, k: int, params: SearchParams) -> list[list[Hit]]:
        if params.ef == 2:
            raise CbirError("out of order")
        return store.search(vectors, k, params=params)

    workload = workload_of([AlteredStore(store, search)], K, 10, 1)  # type: ignore[list-item]
    searches = cases(workload, [1, 2, 4])
    measure(workload, searches, 2, silent_advance)
    first, second, third = searches
    assert (second.name, second.failed, second.rows, second.rounds) == (
        "cbir-faiss ivf_nprobe_2",
        "out of order",
        [],
        [],
    )
    for case in (first, third):
        assert (case.failed, len(case.rows), len(case.rounds)) == ("", 10, 2)
        assert min(case.best_round) > 0


def test_a_store_that_returns_a_point_twice_fails(store: Store) -> None:
    workload = workload_of([altered(store, lambda hits: [hits[0], *hits[:-1]])], K, 10, 1)
    searches = cases(workload, [1])
    measure(workload, searches, 1, silent_advance)
    assert "returned a point twice" in searches[0].failed
