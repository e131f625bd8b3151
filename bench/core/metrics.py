"""Metrics of ranked hits, one value per query, with the names of mteb's results (precision_at_5, ndcg_at_5).

A new metric is a function and a line in `METRICS`. Results, intervals, reports and the page take it from there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """Which hits of each query are of its class, (Q, k), and how many such images the index holds, (Q,).

    Missing hits are False. If the index holds none, all metrics are 0.
    """

    relevant: npt.NDArray[np.bool_]
    possible: npt.NDArray[np.int64]

    @property
    def k(self) -> int:
        """The number of hits of a query."""
        return int(self.relevant.shape[1])

    @property
    def found(self) -> npt.NDArray[np.int64]:
        """(Q,) the number of relevant hits."""
        return np.asarray(self.relevant.sum(axis=1), np.int64)

    @property
    def at_least_one(self) -> npt.NDArray[np.int64]:
        """(Q,) `possible`, or 1 where that is 0, to divide by."""
        return np.maximum(self.possible, 1)


@dataclass(frozen=True)
class Metric:
    """One metric with a value from 0 to 1 for each query, (Q,); `{k}` in its texts stands for the number of hits."""

    name: str
    title: str
    meaning: str
    values: Callable[[Ranking], npt.NDArray[Any]]


def _map(ranking: Ranking) -> Values:
    precision_so_far = ranking.relevant.cumsum(axis=1) / np.arange(1, ranking.k + 1)
    return np.asarray((precision_so_far * ranking.relevant).sum(axis=1) / ranking.at_least_one)


def _ndcg(ranking: Ranking) -> Values:
    worth = 1 / np.log2(np.arange(2, ranking.k + 2))
    ideal = np.concatenate([[0.0], worth.cumsum()])[np.minimum(ranking.possible, ranking.k)]
    return np.asarray((ranking.relevant * worth).sum(axis=1) / np.where(ideal > 0, ideal, 1))


METRICS = (
    Metric(
        "precision_at_{k}",
        "P@{k}",
        "share of the k hits that are of the query's class, also as a mean of the classes weighted by their queries",
        lambda ranking: ranking.found / ranking.k,
    ),
    Metric(
        "precision_of_possible_at_{k}",
        "of possible",
        "the relevant hits divided by min(k, relevant images in the index)",
        lambda ranking: ranking.found / np.minimum(ranking.at_least_one, ranking.k),
    ),
    Metric(
        "hit_rate_at_1",
        "top-1",
        "whether the first hit is of the query's class (top-1)",
        lambda ranking: ranking.relevant[:, 0],
    ),
    Metric("hit_rate_at_{k}", "hit@{k}", "whether any of the k hits is", lambda ranking: ranking.found > 0),
    Metric(
        "majority_at_{k}",
        "majority",
        "whether more than half of the k hits are of the query's class",
        lambda ranking: 2 * ranking.found > ranking.k,
    ),
    Metric(
        "mrr_at_{k}",
        "MRR@{k}",
        "1 / rank of the first hit of the query's class, 0 if none of the k hits is",
        lambda ranking: np.where(ranking.found > 0, 1 / (ranking.relevant.argmax(axis=1) + 1), 0.0),
    ),
    Metric(
        "map_at_{k}",
        "mAP@{k}",
        "mean over the relevant images in the index of the precision at the rank of each, 0 for those beyond k"
        " (map_cut of trec_eval); small by design, because it is at most k / relevant images",
        _map,
    ),
    Metric(
        "recall_at_{k}",
        "recall@{k}",
        "share of the relevant images in the index that are among the k hits; at most k / relevant images",
        lambda ranking: ranking.found / ranking.at_least_one,
    ),
    Metric(
        "ndcg_at_{k}",
        "nDCG@{k}",
        "sum of 1 / log2(rank + 1) over the relevant hits, divided by that of the best possible ranking",
        _ndcg,
    ),
)
"""All metrics, in the order of the tables."""


def definitions(k: int) -> dict[str, str]:
    """Return the meaning of each metric of k hits, by name."""
    return {metric.name.format(k=k): metric.meaning for metric in METRICS}


def per_query(ranking: Ranking) -> dict[str, Values]:
    """Return the value of each metric for every query, (Q,), by name."""
    return {metric.name.format(k=ranking.k): metric.values(ranking).astype(np.float64) for metric in METRICS}


def means(values: Mapping[str, Values]) -> dict[str, float]:
    """Return the mean of each metric."""
    return {name: float(value.mean()) for name, value in values.items()}


@dataclass(frozen=True)
class Summary:
    """A metric over the queries for which it is defined, None if there is none.

    `p5` is the value of a query, and at least 5 % of the queries have it or a worse one.
    """

    mean: float | None
    p5: float | None
    worst: float | None


def summarise(values: Sequence[float | None], better: Literal["higher", "lower"] = "higher") -> Summary:
    """Return the summary of a metric from the value of each query, None where it is undefined."""
    found = [value for value in values if value is not None]
    if not found:
        return Summary(None, None, None)
    worse = sorted(found, reverse=better == "lower")
    mean = round(float(np.mean(found)), 12)  # so that a mean of tenths reaches the bound that it equals
    return Summary(mean, worse[-(-len(found) // 20) - 1], worse[0])
