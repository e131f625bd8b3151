"""How well each class of a collection is found again: its own pictures are the queries, the store itself answers.

A query's answer are its k best hits, itself and its exact copies (the same SHA-256) left out, which would find
themselves. A hit is right if it has the query's class.

    Precision@k   the share of the k places with a right hit; a class of fewer than k + 1 pictures cannot reach 1
    hit rate@k    1 if any of the k hits is right, else 0
    MRR@k         1 / the rank of the first right hit, 0 if none of the k is right
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cbir.evaluation.retrieval import accuracy
from cbir.filters.conditions import Match, Value, values_of
from cbir.records import Entry, Hit
from cbir.stores.base import Store

QUERIES_A_CLASS = 100
MOST_QUERIES = 2000
FAILING = 24

_BATCH = 8
_SPARE = 3


@dataclass(frozen=True, slots=True)
class Judged:
    """One query and what it found.

    Attributes:
        id: The picture that was asked.
        right: Whether each of the k places has a right hit, the best first; one without a hit has none.
        taken_for: The class of each hit, the best first; None for a hit without one.
    """

    id: str
    right: tuple[bool, ...]
    taken_for: tuple[Value, ...]

    @property
    def precision(self) -> float:
        """Precision@k."""
        return sum(self.right) / len(self.right)


@dataclass(frozen=True, slots=True)
class ClassResult:
    """One class, over its queries.

    Attributes:
        value: The class.
        points: Pictures that have it.
        queries: Those of them that were asked.
        precision: Mean Precision@k.
        hit_rate: Share of queries with a right hit.
        mrr: Mean reciprocal rank.
        retrieved: The share of its queries' hits that have each class, the most frequent first.
        failing: Queries with a hit of another class, the worst first, at most `FAILING` of them.
    """

    value: Value
    points: int
    queries: int
    precision: float
    hit_rate: float
    mrr: float
    retrieved: Mapping[Value, float]
    failing: Sequence[Judged]


@dataclass(frozen=True, slots=True)
class ClassReport:
    """All classes, the largest first, and their means weighted by how many pictures each has."""

    field: str
    k: int
    classes: Sequence[ClassResult]
    precision: float
    hit_rate: float
    mrr: float


def class_report(
    store: Store,
    field: str = "label",
    k: int = 5,
    per_class: int = QUERIES_A_CLASS,
    most: int = MOST_QUERIES,
    advance: Callable[[float], object] = lambda share: None,
) -> ClassReport:
    """Return how well each class is found; empty if no picture has a value in `field`.

    A class's queries are its first ones in the order of ids, which is a fair sample: an id is a hash (UUIDv5) of data
    set and key. They are asked a few at a time, so that other searches get in between.

    Args:
        store: What is asked, by its ordinary search.
        field: Of the payload, whose values are the classes; a picture with several values is right with any of them.
        k: Hits that count.
        per_class: At most so many queries a class.
        most: About so many queries in all, at least one for each class; smaller classes than the largest `most` are
            left out.
        advance: Is told the share of the work that is done, from 0 to 1.

    Raises:
        CbirError: The store failed.
    """
    counts = store.facet(field, limit=most)
    share = max(1, min(per_class, most // max(1, len(counts))))
    total, done = sum(min(share, points) for _, points in counts), 0
    classes = []
    for value, points in counts:
        judged: list[Judged] = []
        queries = store.scroll((Match(field, (value,)),), limit=share)
        for start in range(0, len(queries), _BATCH):
            judged += _judge(store, queries[start : start + _BATCH], field, value, k)
            advance(min(1.0, (done + len(judged)) / total))
        done += len(judged)
        if judged:
            classes.append(_result(value, points, judged))
    weights = np.array([one.points for one in classes])
    scores = np.array([(one.precision, one.hit_rate, one.mrr) for one in classes]).reshape(-1, 3)
    means = weights @ scores / max(1, weights.sum())
    return ClassReport(field, k, classes, *means.tolist())


def _judge(store: Store, queries: Sequence[Entry], field: str, value: Value, k: int) -> list[Judged]:
    """Return what some queries of one class find."""
    wanted, judged = Match(field, (value,)), []
    for query, hits in _answers(store, queries, k):
        taken_for = tuple(_class_of(hit, wanted) for hit in hits)
        right = [wanted.accepts(one) for one in taken_for]
        judged.append(Judged(query.id, (*right, *[False] * (k - len(right))), taken_for))
    return judged


def _answers(store: Store, queries: Sequence[Entry], k: int) -> list[tuple[Entry, list[Hit]]]:
    """Return the k best hits of each query but itself and its copies; where these leave too few, more are asked for."""
    vectors = store.vectors([query.id for query in queries])
    left = [(query, vector) for query, vector in zip(queries, vectors, strict=True) if vector is not None]
    found: list[tuple[Entry, list[Hit]]] = []
    wanted = k + _SPARE
    while left:
        answers = store.search(np.stack([vector for _, vector in left]), wanted)
        lacking = []
        for (query, vector), hits in zip(left, answers, strict=True):
            others = [hit for hit in hits if hit.payload["sha256"] != query.payload["sha256"]]
            if len(others) < k and len(hits) == wanted:
                lacking.append((query, vector))
            else:
                found.append((query, others[:k]))
        left, wanted = lacking, 4 * wanted
    return found


def _class_of(hit: Hit, wanted: Match) -> Value:
    """Return a hit's class: the one that is wanted, if it has that among others."""
    values = values_of(hit.payload, wanted.field)
    return next(filter(wanted.accepts, values), values[0] if values else None)


def _result(value: Value, points: int, judged: Sequence[Judged]) -> ClassResult:
    found = accuracy(np.array([one.right for one in judged]), np.zeros(len(judged)))
    failing = [one for one in judged if any(hit != value for hit in one.taken_for) or not one.taken_for]
    return ClassResult(
        value,
        points,
        len(judged),
        found.precision_at_k,
        found.hit_rate_at_k,
        found.mrr_at_k,
        _shares(hit for one in judged for hit in one.taken_for),
        sorted(failing, key=_goodness)[:FAILING],
    )


def _goodness(one: Judged) -> tuple[float, int, str]:
    first = one.right.index(True) if True in one.right else len(one.right)
    return one.precision, -first, one.id


def _shares(values: Iterable[Value]) -> dict[Value, float]:
    counts = Counter(values)
    return {value: count / counts.total() for value, count in counts.most_common()}
