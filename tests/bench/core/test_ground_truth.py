"""The exact neighbours, compared with a full sort."""

from dataclasses import replace

import numpy as np
import pytest
from cbir.bench.core.ground_truth import angular, count_copies, exact_neighbours, ground_truth

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


def test_exact_neighbours_are_those_of_a_full_sort() -> None:
    vectors, ids, queries = unit_vectors(200), [str(number) for number in range(200)], np.arange(30)
    vectors[7] = vectors[8] = vectors[9]
    truth = ground_truth(ids, vectors, queries, 19)
    exact = vectors.astype(np.float64)
    expected = np.argsort(-(exact[queries] @ exact.T), axis=1, kind="stable")[:, :20]
    found = exact_neighbours(truth)
    assert (found.rows == expected).all()
    scores = np.take_along_axis(exact[queries] @ exact.T, expected, axis=1)
    assert found.distances == pytest.approx(1 - scores, abs=1e-6)
    everything = exact_neighbours(replace(truth, k=199)).rows
    assert np.sort(everything, axis=1).tolist() == [list(range(200))] * 30


def test_angular_is_of_any_length() -> None:
    vectors = np.array([[2, 0], [0, 3], [-1, 0], [5, 5]], np.float32)
    assert angular(vectors, 0, np.arange(4)) == pytest.approx([0, 1, 2, 1 - np.sqrt(0.5)])
