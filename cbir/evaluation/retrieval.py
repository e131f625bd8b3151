"""How good a ranking is: nearest neighbours, the split into indexed images and queries, and the metrics.

The protocol: the images are split 70/15/15 by class with a fixed seed, the training part is indexed, the test part are
the queries, and a hit counts if it has the query's class.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cbir.errors import UsageError
from cbir.models.card import Training
from cbir.records import Vector

Rows = npt.NDArray[np.int64]
K = 5
_CELLS = 2**25  # scores at a time: 128 MB of float32, and twice that for the order of the nearest


@dataclass(frozen=True)
class Split:
    """Row numbers of the three parts of a data set."""

    train: Rows
    validation: Rows
    test: Rows


@dataclass(frozen=True)
class Accuracy:
    """Metrics of queries with k hits each, as means over the queries. `cbir-bench accuracy` explains each."""

    queries: int
    precision_at_k: float
    hit_rate_at_1: float
    hit_rate_at_k: float
    majority_at_k: float
    mrr_at_k: float


def split(labels: Sequence[str], seed: int) -> Split:
    """Return a 70/15/15 split of the rows, stratified by class: 30 % are taken off, then halved.

    Raises:
        UsageError: There is only one class, a class is too small for three parts, or scikit-learn is not installed.
    """
    classes = np.asarray(labels)
    rows = np.arange(len(classes))
    if len(set(labels)) < 2:
        raise UsageError(f"all {len(rows)} images are of one class, {str(*set(labels))!r}; there is nothing to compare")
    try:
        from sklearn.model_selection import train_test_split
    except ImportError:
        raise UsageError("splitting a data set needs scikit-learn: pip install 'cbir[export]'") from None
    try:
        train, rest = train_test_split(rows, test_size=0.3, random_state=seed, stratify=classes)
        validation, test = train_test_split(rest, test_size=0.5, random_state=seed, stratify=classes[rest])
    except ValueError as error:
        names, counts = np.unique(classes, return_counts=True)
        raise UsageError(
            f"{len(classes)} images of {len(names)} classes cannot be split 70/15/15 with every class in every part:"
            f" {str(names[counts.argmin()])!r} has {counts.min()} ({error}). Use fewer classes or more images."
        ) from None
    return Split(train, validation, test)


def split_name(seed: int) -> str:
    """Return the description of a split in a model's card."""
    return f"70/15/15 by class, seed {seed}"


def has_split(training: Training, seed: int, images: int, classes: Sequence[str]) -> bool:
    """Return True if a model was trained on the training part of a split: by the same seed, with as many images in it.

    `classes` are the names of all classes, sorted. Another number of images is another split, whatever its seed.
    """
    return (training.split, training.images, training.classes) == (split_name(seed), images, list(classes))


def blocks(queries: int, indexed: int) -> Iterator[slice]:
    """Yield the rows of the queries whose scores with so many indexed vectors fit into memory at a time."""
    at_once = max(1, _CELLS // max(indexed, 1))
    for start in range(0, queries, at_once):
        yield slice(start, min(start + at_once, queries))


def neighbours(queries: Vector, indexed: Vector, k: int, exclude_self: bool = False) -> Rows:
    """Return the rows of the k nearest indexed unit vectors (N, D) of each query (Q, D), as (Q, k), best first.

    N must be at least k. With `exclude_self` the queries are the indexed vectors, and none is its own neighbour.
    """
    found = []
    for rows in blocks(len(queries), len(indexed)):
        scores = queries[rows] @ indexed.T
        if exclude_self:
            numbers = np.arange(len(scores))
            scores[numbers, rows.start + numbers] = -np.inf
        best = np.sort(np.argpartition(-scores, k - 1, axis=1)[:, :k], axis=1)
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
        found.append(np.take_along_axis(best, order, axis=1))
    return np.concatenate(found) if found else np.empty((0, k), np.int64)


def accuracy(relevant: npt.NDArray[np.bool_]) -> Accuracy:
    """Return retrieval metrics from a (Q, k) relevance matrix, best rank first."""
    first = np.where(relevant.any(axis=1), 1 / (relevant.argmax(axis=1) + 1), 0)
    return Accuracy(
        queries=len(relevant),
        precision_at_k=float(relevant.mean()),
        hit_rate_at_1=float(relevant[:, 0].mean()),
        hit_rate_at_k=float(relevant.any(axis=1).mean()),
        majority_at_k=float((2 * relevant.sum(axis=1) > relevant.shape[1]).mean()),
        mrr_at_k=float(first.mean()),
    )


def score(vectors: Vector, labels: Sequence[str], indexed: Rows, queries: Rows) -> Accuracy:
    """Return the metrics of searching the `indexed` rows with the `queries` rows, with `K` hits each."""
    classes = np.asarray(labels)
    hits = indexed[neighbours(vectors[queries], vectors[indexed], K)]
    return accuracy(classes[hits] == classes[queries, None])
