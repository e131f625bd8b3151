"""The exact neighbours, compared with a full sort."""

import numpy as np
import pytest
from cbir.bench.core.ground_truth import count_copies, ground_truth

from tests.support.building import unit_vectors


def test_the_ground_truth_is_that_of_a_full_sort() -> None:
    vectors = unit_vectors(500, dimension=16)
    vectors[7] = vectors[8] = vectors[9]
    ids = [str(number) for number in range(500)]
    queries = np.concatenate([vectors[7:8], unit_vectors(2, seed=1, dimension=16)])
    for k in (1, 2, 10, 500):
        truth = ground_truth(ids, vectors, queries, k)
        for number, query in enumerate(queries):
            scores = vectors.astype(np.float64) @ query.astype(np.float64)
            assert truth.threshold[number] == pytest.approx(np.sort(scores)[-k], abs=1e-12)
            assert truth.scores(number, ["3", "8"])[0] == pytest.approx(vectors[3] @ query, abs=1e-6)
    assert ground_truth(ids, vectors, queries, 1).tied.tolist() == [True, False, False], (
        "three copies for the first place"
    )
    assert not ground_truth(ids, vectors, queries, 500).tied.any(), "nothing is left to be tied"
    assert count_copies(vectors) == 2


def test_the_nearest_are_those_of_a_full_sort_and_equal_ones_are_ordered_by_row() -> None:
    vectors, ids, queries = unit_vectors(200), [str(number) for number in range(200)], unit_vectors(30, seed=1)
    vectors[7] = vectors[8] = vectors[9]
    scores = queries.astype(np.float64) @ vectors.astype(np.float64).T
    expected = np.argsort(-scores, axis=1, kind="stable")
    for k in (19, 200):
        assert (ground_truth(ids, vectors, queries, k).nearest == expected[:, :k]).all()
    pool = np.arange(50, 150)
    among = np.argsort(-scores[:, pool], axis=1, kind="stable")[:, :5]
    assert (ground_truth(ids, vectors, queries, 5, pool).nearest == pool[among]).all()
