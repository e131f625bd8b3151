"""How well each class of a collection is found: its own images are the queries, and the store answers them.

The result of a query are its k best hits without the image itself and its exact copies (the same SHA-256). A hit is
right if it has the query's class.

    Precision@k   the share of right hits among the k; a class of at most k images cannot reach 1
    hit rate@k    1 if any of the k hits is right, else 0
    MRR@k         1 / the rank of the first right hit, 0 if none of the k is right
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cbir.evaluation.retrieval import accuracy
from cbir.filters.conditions import Match, Value, values_of
from cbir.records import Entry, Hit
from cbir.stores.base import Store

QUERIES_PER_CLASS = 100
MAX_QUERIES = 2000
FAILING = 24

_BATCH = 8
_SPARE = 3


@dataclass(frozen=True, slots=True)
class Judged:
    """A query and its hits, best first: whether each of the k hits is right (False if missing), and its class."""

    id: str
    right: tuple[bool, ...]
    taken_for: tuple[Value, ...]

    @property
    def precision(self) -> float:
        """Precision@k."""
        return sum(self.right) / len(self.right)


@dataclass(frozen=True, slots=True)
class ClassResult:
    """The result of a class of `points` images: means over its queries.

    `retrieved` is the share of the hits that have each class, the most frequent first. `failing` has at most `FAILING`
    queries with a hit of another class, the worst first.
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
    """All classes, the largest first, and their means weighted by their numbers of images."""

    k: int
    classes: Sequence[ClassResult]
    precision: float
    hit_rate: float
    mrr: float


def class_report(
    store: Store,
    field: str = "label",
    k: int = 5,
    max_queries: int = MAX_QUERIES,
    on_progress: Callable[[float], object] = lambda share: None,
) -> ClassReport:
    """Return how well each class is found; without classes if no image has a value in `field`.

    The queries of a class are its first images in the order of ids, at most `QUERIES_PER_CLASS`. This is a fair
    sample, since an id is a hash of data set and key. They are searched in small batches, so that other searches do
    not wait.

    A hit with several values in `field` is right with any of them. At most about `max_queries` queries are made, at
    least one for each of so many largest classes. `on_progress` is called with the share that is done, from 0 to 1.
    """
    counts = store.facet(field, limit=max_queries)
    per_class = max(1, min(QUERIES_PER_CLASS, max_queries // max(1, len(counts))))
    total, done = sum(min(per_class, points) for _, points in counts), 0
    classes = []
    for value, points in counts:
        judged: list[Judged] = []
        wanted = Match(field, (value,))
        queries = store.scroll((wanted,), limit=per_class)
        for start in range(0, len(queries), _BATCH):
            judged += _judge(store, queries[start : start + _BATCH], wanted, k)
            on_progress(min(1.0, (done + len(judged)) / total))
        done += len(judged)
        if judged:
            classes.append(_result(value, points, judged))
    weights = np.array([result.points for result in classes])
    scores = np.array([(result.precision, result.hit_rate, result.mrr) for result in classes]).reshape(-1, 3)
    means = weights @ scores / max(1, weights.sum())
    return ClassReport(k, classes, *means.tolist())


def _judge(store: Store, queries: Sequence[Entry], wanted: Match, k: int) -> list[Judged]:
    """Search with some queries of a class and judge their hits."""
    judged = []
    for query, hits in _results(store, queries, k):
        taken_for = tuple(_class_of(hit, wanted) for hit in hits)
        right = [wanted.accepts(hit_class) for hit_class in taken_for]
        judged.append(Judged(query.id, (*right, *[False] * (k - len(right))), taken_for))
    return judged


def _results(store: Store, queries: Sequence[Entry], k: int) -> list[tuple[Entry, list[Hit]]]:
    """Return the k best hits of each query without itself and its copies, searching wider if copies fill the k."""
    vectors = store.vectors([query.id for query in queries])
    remaining = [(query, vector) for query, vector in zip(queries, vectors, strict=True) if vector is not None]
    found: list[tuple[Entry, list[Hit]]] = []
    wanted = k + _SPARE
    while remaining:
        results = store.search(np.stack([vector for _, vector in remaining]), wanted)
        lacking = []
        for (query, vector), hits in zip(remaining, results, strict=True):
            others = [hit for hit in hits if hit.payload["sha256"] != query.payload["sha256"]]
            if len(others) < k and len(hits) == wanted:
                lacking.append((query, vector))
            else:
                found.append((query, others[:k]))
        remaining, wanted = lacking, 4 * wanted
    return found


def _class_of(hit: Hit, wanted: Match) -> Value:
    """Return the class of a hit: the wanted one if it is among its values, else the first."""
    values = values_of(hit.payload, wanted.field)
    return next(filter(wanted.accepts, values), values[0] if values else None)


def _result(value: Value, points: int, judged: Sequence[Judged]) -> ClassResult:
    means = accuracy(np.array([query.right for query in judged]))
    failing = [query for query in judged if any(hit != value for hit in query.taken_for) or not query.taken_for]
    retrieved = Counter(hit for query in judged for hit in query.taken_for)
    return ClassResult(
        value,
        points,
        len(judged),
        means.precision_at_k,
        means.hit_rate_at_k,
        means.mrr_at_k,
        {hit: count / retrieved.total() for hit, count in retrieved.most_common()},
        sorted(failing, key=_quality)[:FAILING],
    )


def _quality(query: Judged) -> tuple[float, int, str]:
    """Return the sort key of a query, the worst first."""
    first = query.right.index(True) if True in query.right else len(query.right)
    return query.precision, -first, query.id
