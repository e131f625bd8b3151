"""The exact neighbours, compared with a full sort."""

import numpy as np
import pytest
from cbir.bench.core.ground_truth import count_copies, ground_truth

from tests.support.building import unit_vectors


def test_the_ground_truth_is_that_of_a_full_sort() -> None:
    vectors = unit_vectors(500, dimension=16)
    vectors[7] = vectors[8] = vectors[9]
    ids = [str(number) for number in range(500)]
    queries = np.array([7, 100, 499])
    for k in (1, 2, 10, 499):
        truth = ground_truth(ids, vectors, queries, k)
        for number, query in enumerate(queries):
            scores = np.delete(vectors.astype(np.float64) @ vectors[query].astype(np.float64), query)
            assert truth.threshold[number] == pytest.approx(np.sort(scores)[-k], abs=1e-12)
            assert truth.scores(number, ["3", "8"])[0] == pytest.approx(vectors[3] @ vectors[query], abs=1e-6)
    assert ground_truth(ids, vectors, queries, 1).tied.tolist() == [True, False, False], (
        "two copies for the first place"
    )
    assert not ground_truth(ids, vectors, queries, 499).tied.any(), "nothing is left to be tied"
    assert count_copies(vectors) == 2


def test_the_nearest_are_those_of_a_full_sort_and_equal_ones_are_ordered_by_row() -> None:
    vectors, ids, queries = unit_vectors(200), [str(number) for number in range(200)], np.arange(30)
    vectors[7] = vectors[8] = vectors[9]
    scores = vectors[queries].astype(np.float64) @ vectors.astype(np.float64).T
    scores[queries, queries] = -np.inf
    expected = np.argsort(-scores, axis=1, kind="stable")
    for k in (19, 199):
        assert (ground_truth(ids, vectors, queries, k).nearest == expected[:, :k]).all()
