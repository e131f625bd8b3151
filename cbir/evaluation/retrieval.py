"""How good a ranking is: nearest neighbours, the split into what is indexed and what is asked for, and the metrics.

The protocol: the pictures are split 70/15/15 by class with a fixed seed, the training part is indexed, the test part
asked for, and a hit counts if it has the query's class.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cbir.errors import UsageError
from cbir.records import Vector

Rows = npt.NDArray[np.int64]
SEED = 42
K = 5
_QUERIES_AT_ONCE = 1024


@dataclass(frozen=True)
class Split:
    """Row numbers of the three parts of a data set."""

    train: Rows
    validation: Rows
    test: Rows


@dataclass(frozen=True)
class Accuracy:
    """Label metrics of a set of queries with k hits each; all are means over the queries, 0 to 1.

    Attributes:
        queries: How many.
        precision_at_k: Share of the k hits that have the query's class; the divisor is k.
        weighted_precision_at_k: Its mean of each class, weighted by the class's share of the queries.
        hit_rate_at_1: Whether the first hit has the query's class.
        hit_rate_at_k: Whether any of the k hits has.
        majority_at_k: Whether more than half of them have.
        mrr_at_k: 1 / rank of the first hit that has, 0 if none has.
    """

    queries: int
    precision_at_k: float
    weighted_precision_at_k: float
    hit_rate_at_1: float
    hit_rate_at_k: float
    majority_at_k: float
    mrr_at_k: float


def split(labels: Sequence[str], seed: int = SEED) -> Split:
    """Return 70/15/15 of the rows, stratified by class: 30 % taken off, then halved.

    Raises:
        UsageError: There are not two classes with rows enough to be in every part, or scikit-learn is not installed.
    """
    classes = np.asarray(labels)
    rows = np.arange(len(classes))
    if len(set(labels)) < 2:
        raise UsageError(
            f"all {len(rows)} pictures are of one class, {str(*set(labels))!r}; there is nothing to tell apart"
        )
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
            f"{len(classes)} pictures of {len(names)} classes cannot be split 70/15/15 with every class in every part:"
            f" {str(names[counts.argmin()])!r} has {counts.min()} ({error}); use --top-classes or more pictures"
        ) from None
    return Split(train, validation, test)


def split_name(seed: int) -> str:
    """Return what a model's card says of a split."""
    return f"70/15/15 by class, seed {seed}"


def neighbours(queries: Vector, indexed: Vector, k: int, exclude_self: bool = False) -> Rows:
    """Return the rows of the k nearest indexed unit vectors of each query, (Q, k), best first; equal ones in any order.

    Args:
        queries: Unit vectors, float32 (Q, D).
        indexed: Unit vectors, float32 (N, D), N > k.
        k: How many.
        exclude_self: The queries are the indexed vectors, and none is a neighbour of itself.
    """
    found = []
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        scores = queries[start : start + _QUERIES_AT_ONCE] @ indexed.T
        if exclude_self:
            rows = np.arange(len(scores))
            scores[rows, start + rows] = -np.inf
        best = np.sort(np.argpartition(-scores, k - 1, axis=1)[:, :k], axis=1)
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
        found.append(np.take_along_axis(best, order, axis=1))
    return np.concatenate(found) if found else np.empty((0, k), np.int64)


def accuracy(relevant: npt.NDArray[np.bool_], classes: npt.NDArray[Any]) -> Accuracy:
    """Return the metrics of queries from which of their hits, (Q, k) in order of rank, have their class, (Q,)."""
    precision = relevant.mean(axis=1)
    share = {name: float((classes == name).mean()) for name in np.unique(classes)}
    first = np.where(relevant.any(axis=1), 1 / (relevant.argmax(axis=1) + 1), 0)
    return Accuracy(
        queries=len(relevant),
        precision_at_k=float(precision.mean()),
        weighted_precision_at_k=sum(part * float(precision[classes == name].mean()) for name, part in share.items()),
        hit_rate_at_1=float(relevant[:, 0].mean()),
        hit_rate_at_k=float(relevant.any(axis=1).mean()),
        majority_at_k=float((2 * relevant.sum(axis=1) > relevant.shape[1]).mean()),
        mrr_at_k=float(first.mean()),
    )


def score(vectors: Vector, labels: Sequence[str], indexed: Rows, queries: Rows, k: int = K) -> Accuracy:
    """Return the metrics of asking for some rows in an index of others."""
    classes = np.asarray(labels)
    hits = indexed[neighbours(vectors[queries], vectors[indexed], k)]
    return accuracy(classes[hits] == classes[queries, None], classes[queries])
