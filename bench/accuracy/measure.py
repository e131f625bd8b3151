"""How well each model finds pictures of the query's class, on the same pictures, with how sure that is."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from cbir.errors import UsageError
from cbir.evaluation.embeddings import Labelled
from cbir.evaluation.retrieval import Rows, neighbours, split
from cbir.models.card import ModelCard
from cbir.records import Vector

from ..core.metrics import means, per_query
from .significance import bootstrap, holm, interval, mcnemar, ranks, sign_flip

SPLIT, LEAVE_ONE_OUT = "split", "leave-one-out"
FAILING = 20
_ALPHA = 0.05


@dataclass(frozen=True)
class Task:
    """Which pictures are asked for, and among which.

    Attributes:
        labels: The class of each image; `keys` and `digests` (SHA-256 of its file) likewise.
        classes: (N,) the same as numbers, in the order of `names`.
    """

    keys: Sequence[str]
    labels: Sequence[str]
    classes: npt.NDArray[np.int64]
    names: list[str]
    digests: Sequence[bytes]
    indexed: Rows
    queries: Rows
    k: int


@dataclass(frozen=True)
class ModelAccuracy:
    """One model.

    Attributes:
        training: What it was trained on besides, None for the backbone as published.
        metrics: Means over the queries; the query itself and its exact copies are no hits.
        with_copies: The same means with exact copies among the hits.
        rank: 1 and the number of models that are better beyond chance.
    """

    name: str
    precision: str
    dimension: int
    megabytes: float
    weights: str
    training: str | None
    random_weights: bool
    sha256: str
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    with_copies: dict[str, float]
    rank: int
    classes: list[dict[str, Any]]
    failing: list[dict[str, Any]]


@dataclass(frozen=True)
class Pair:
    """Two models, by number, on the same queries.

    Attributes:
        difference: Of their Precision@k.
        interval: 95 % of it, paired.
        p: That there is none, by flipping signs.
        p_top1: That they are right equally often with their first hit (McNemar).
        better: The number of the model that is better beyond chance, None if neither is.
    """

    models: tuple[int, int]
    difference: float
    interval: tuple[float, float]
    p: float
    p_holm: float
    p_top1: float
    p_top1_holm: float
    better: int | None


@dataclass(frozen=True)
class Judged:
    """What one model's hits are: (Q, k) rows of the hits, -1 for none, without the query's copies and with them."""

    hits: Rows
    with_copies: Rows


def make_task(labelled: Labelled, protocol: str, seed: int, k: int) -> Task:
    """Return the task of a set of pictures."""
    labels = labelled.labels
    names, classes = np.unique(np.asarray(labels), return_inverse=True)
    rows = np.arange(len(labels))
    if len(names) < 2:
        raise UsageError(f"all {len(rows)} pictures are of one class, {labels[0]!r}; there is nothing to tell apart")
    if protocol == SPLIT:
        parts = split(labels, seed)
        indexed, queries = np.sort(parts.train), np.sort(parts.test)
    else:
        indexed = queries = rows
    if len(indexed) <= k + 1:
        raise UsageError(f"{len(indexed)} pictures to choose from are too few for {k} hits")
    return Task(labelled.keys, labels, classes.astype(np.int64), names.tolist(), labelled.digests, indexed, queries, k)


def same_pictures(one: Labelled, digests: set[bytes]) -> Labelled:
    """Return the pictures of a set whose files have one of the digests."""
    kept = [at for at, digest in enumerate(one.digests) if digest in digests]
    labels, keys = ([row[at] for at in kept] for row in (one.labels, one.keys))
    return Labelled(one.name, one.vectors[kept], labels, [one.digests[at] for at in kept], keys)


def judge(vectors: Vector, task: Task) -> Judged:
    """Search with every query and return its hits; the query itself is never one."""
    numbers = {digest: number for number, digest in enumerate(dict.fromkeys(task.digests))}
    content = np.array([numbers[one] for one in task.digests])
    copies = Counter(content[task.indexed].tolist())
    most = max((copies[one] for one in content[task.queries].tolist()), default=0)
    wide = min(len(task.indexed), task.k + most + 1)
    found = task.indexed[neighbours(vectors[task.queries], vectors[task.indexed], wide)]
    itself = found == task.queries[:, None]
    copy = content[found] == content[task.queries][:, None]
    return Judged(_first(found, ~copy, task.k), _first(found, ~itself, task.k))


def _first(found: Rows, allowed: npt.NDArray[np.bool_], k: int) -> Rows:
    order = np.argsort(~allowed, axis=1, kind="stable")[:, :k]
    chosen = np.take_along_axis(found, order, axis=1)
    return np.where(np.take_along_axis(allowed, order, axis=1), chosen, -1)


def relevant(hits: Rows, task: Task) -> npt.NDArray[np.bool_]:
    """Return which of the hits are of their query's class, (Q, k)."""
    return np.asarray((hits >= 0) & (task.classes[hits] == task.classes[task.queries][:, None]), np.bool_)


def possible(task: Task, copies_count: bool) -> npt.NDArray[np.int64]:
    """Return how many relevant pictures the index holds for each query, (Q,), itself never and copies if they count."""
    in_class = np.bincount(task.classes[task.indexed], minlength=len(task.names))[task.classes[task.queries]]
    if copies_count:
        return np.asarray(in_class - np.isin(task.queries, task.indexed), np.int64)
    same = Counter((task.digests[at], int(task.classes[at])) for at in task.indexed.tolist())
    mine = [same[task.digests[at], int(task.classes[at])] for at in task.queries.tolist()]
    return np.asarray(in_class - np.array(mine), np.int64)


def values_of(judged: Judged, task: Task) -> tuple[dict[str, Any], dict[str, float]]:
    """Return each metric's values of the queries without copies, and the means with them."""
    values = per_query(relevant(judged.hits, task), possible(task, copies_count=False))
    kept = per_query(relevant(judged.with_copies, task), possible(task, copies_count=True))
    return values, means(kept, task.classes[task.queries], task.k)


def by_class(judged: Judged, values: dict[str, Any], task: Task) -> list[dict[str, Any]]:
    """Return the classes of the queries, those with most queries first: metrics, and what their hits are labelled."""
    asked = task.classes[task.queries]
    indexed = np.bincount(task.classes[task.indexed], minlength=len(task.names))
    found = []
    for number in np.unique(asked).tolist():
        mine = asked == number
        hits = judged.hits[mine]
        counts = np.bincount(task.classes[hits[hits >= 0]], minlength=len(task.names))
        shares = counts / max(1, counts.sum())
        order = np.argsort(-shares, kind="stable").tolist()
        found.append(
            {
                "label": task.names[number],
                "queries": int(mine.sum()),
                "indexed": int(indexed[number]),
                "metrics": {metric: float(value[mine].mean()) for metric, value in values.items()},
                "retrieved_as": {task.names[at]: float(shares[at]) for at in order if counts[at]},
            }
        )
    return sorted(found, key=lambda one: -one["queries"])


def failing(judged: Judged, values: dict[str, Any], task: Task) -> list[dict[str, Any]]:
    """Return the worst queries (fewest hits of their class, these the furthest down), and the keys and labels found."""
    precision, first = values[f"precision_at_{task.k}"], values[f"mrr_at_{task.k}"]
    worst = [at for at in np.lexsort((task.queries, first, precision))[:FAILING].tolist() if precision[at] < 1]
    return [
        {
            "key": task.keys[task.queries[at]],
            "label": task.labels[task.queries[at]],
            "hits": [(task.keys[hit], task.labels[hit]) for hit in judged.hits[at].tolist() if hit >= 0],
        }
        for at in worst
    ]


def sure(
    all_values: Sequence[dict[str, Any]], task: Task, resamples: int, seed: int
) -> tuple[list[dict[str, tuple[float, float]]], list[Pair], list[int]]:
    """Return each model's intervals, all pairs of models, and each model's rank."""
    metrics = list(all_values[0])
    columns = np.stack([values[name] for values in all_values for name in metrics], axis=1)
    drawn = bootstrap(columns, resamples, seed).reshape(resamples, len(all_values), len(metrics))
    main = f"precision_at_{task.k}"
    intervals = []
    for model in range(len(all_values)):
        mine = {name: interval(drawn[:, model, place]) for place, name in enumerate(metrics)}
        # weighted by the classes' shares of the queries, the mean over classes is the mean over queries
        intervals.append({**mine, f"weighted_{main}": mine[main], "main_score": mine[main]})
    numbers = list(combinations(range(len(all_values)), 2))
    if not numbers:
        return intervals, [], [1]
    differences = np.stack([all_values[a][main] - all_values[b][main] for a, b in numbers], axis=1)
    drawn_main = drawn[:, :, metrics.index(main)]
    p_values = sign_flip(differences, seed).tolist()
    top1 = [mcnemar(all_values[a]["hit_rate_at_1"] > 0, all_values[b]["hit_rate_at_1"] > 0) for a, b in numbers]
    tested = zip(p_values, holm(p_values), top1, holm(top1), strict=True)
    pairs = []
    for place, ((first, second), found) in enumerate(zip(numbers, tested, strict=True)):
        difference = float(differences[:, place].mean())
        low, high = interval(drawn_main[:, first] - drawn_main[:, second])
        told = found[1] < _ALPHA and (low > 0 or high < 0)
        better = (first if difference > 0 else second) if told else None
        pairs.append(Pair((first, second), difference, (low, high), *found, better))
    beaten = [(pair.better, pair.models[pair.models[0] == pair.better]) for pair in pairs if pair.better is not None]
    return intervals, pairs, ranks(len(all_values), beaten)


def describe(card: ModelCard) -> str | None:
    """Return what a model was trained on besides, in one line."""
    one = card.training
    return None if one is None else f"{one.kind} on {one.images:,} pictures of {one.data} ({one.split})"


def pictures_digest(task: Task) -> str:
    """Return what tells one set of pictures with their classes and roles from another."""
    found = hashlib.sha256()
    for rows in (task.indexed, task.queries):
        for at in rows.tolist():
            found.update(task.digests[at] + task.labels[at].encode())
    return found.hexdigest()
