"""The codes of a tail find its nearest vectors."""

from collections.abc import Callable

import numpy as np
import pytest
from cbir.bench.core.synthetic import clustered

from cbir.records import Vector
from cbir.stores.embedded.tail_codes import TailCodes
from tests.support.building import unit_vectors

COUNT, DIMENSION, K = 1000, 256, 10


def isotropic(count: int, dimension: int, seed: int) -> Vector:
    return unit_vectors(count, seed, dimension)


@pytest.mark.parametrize(("made", "least"), [(clustered, 0.99), (isotropic, 0.7)])
def test_the_nearest_vectors_are_among_the_candidates(made: Callable[[int, int, int], Vector], least: float) -> None:
    vectors, queries = made(COUNT, DIMENSION, 1), made(50, DIMENSION, 2)
    near = TailCodes(np.arange(COUNT), vectors).nearest(queries, 3 * K + 32)
    best = np.argsort(-queries @ vectors.T, axis=1)[:, :K]
    assert np.mean([np.isin(truth, found).mean() for truth, found in zip(best, near, strict=True)]) >= least


def test_codes_grow_with_the_tail_and_the_ones_before_stay_as_they_are() -> None:
    vectors = clustered(COUNT, DIMENSION, 1)
    queries = clustered(20, DIMENSION, 2)
    whole = TailCodes(np.arange(COUNT), vectors)
    before = TailCodes(np.arange(600), vectors[:600])
    grown = TailCodes(np.arange(COUNT), vectors, before)
    assert np.array_equal(grown.nearest(queries, 50), whole.nearest(queries, 50))
    assert before.nearest(queries, 600).max() == 599


def test_codes_of_replaced_vectors_are_made_again() -> None:
    vectors, other = clustered(COUNT, DIMENSION, 1), clustered(COUNT, DIMENSION, 3)
    before = TailCodes(np.arange(COUNT), other)
    for rows in (np.arange(COUNT) + COUNT, np.arange(1, 1 + COUNT)):
        near = TailCodes(rows, vectors, before).nearest(vectors[:20], 1)
        assert near[:, 0].tolist() == list(range(20))
