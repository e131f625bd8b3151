"""Label metrics of ranked hits, one value a query, under the names of mteb's results (precision_at_5, ndcg_at_5)."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

MAIN = "precision"
_DEFINITIONS = {
    "precision_at_{k}": "share of the k places that hold a hit of the query's class; the divisor is k",
    "precision_of_possible_at_{k}": "the same by the other divisor: min(k, relevant pictures in the index)",
    "hit_rate_at_1": "whether the first hit is of the query's class (top-1)",
    "hit_rate_at_{k}": "whether any of the k hits is",
    "majority_at_{k}": "whether more than half of the k places hold one that is",
    "mrr_at_{k}": "1 / rank of the first hit that is, 0 if none of the k is",
    "map_at_{k}": "mean over the relevant pictures in the index of the precision at the rank where each stands, 0 for"
    " those beyond k (trec_eval's map_cut); its most is k / relevant where there are more than k",
    "recall_at_{k}": "share of the relevant pictures in the index that are among the k hits; the same holds",
    "ndcg_at_{k}": "sum of 1 / log2(rank + 1) over the hits that are relevant, by that of the best possible ranking",
    "weighted_precision_at_{k}": "mean of each class's Precision@k, weighted by the class's share of the queries",
    "main_score": "precision_at_k",
}


def definitions(k: int) -> dict[str, str]:
    """Return what each metric means, by its name for so many hits."""
    return {name.format(k=k): text for name, text in _DEFINITIONS.items()}


def per_query(relevant: npt.NDArray[np.bool_], possible: npt.NDArray[np.int64]) -> dict[str, Values]:
    """Return each metric's value of every query, (Q,), by its name.

    Args:
        relevant: (Q, k) whether the hit at each rank is relevant; a place without a hit is not.
        possible: (Q,) how many relevant pictures the index holds. Where it holds none all metrics are 0.
    """
    k = relevant.shape[1]
    ranks = np.arange(1, k + 1)
    found = relevant.sum(axis=1)
    some = np.maximum(possible, 1)
    precision_so_far = relevant.cumsum(axis=1) / ranks
    gains = relevant / np.log2(ranks + 1)
    best = np.concatenate([[0.0], (1 / np.log2(ranks + 1)).cumsum()])
    ideal = best[np.minimum(possible, k)]
    return {
        f"precision_at_{k}": found / k,
        f"precision_of_possible_at_{k}": found / np.minimum(some, k),
        "hit_rate_at_1": relevant[:, 0].astype(float),
        **({f"hit_rate_at_{k}": relevant.any(axis=1).astype(float)} if k > 1 else {}),
        f"majority_at_{k}": (2 * found > k).astype(float),
        f"mrr_at_{k}": np.where(relevant.any(axis=1), 1 / (relevant.argmax(axis=1) + 1), 0.0),
        f"map_at_{k}": (precision_so_far * relevant).sum(axis=1) / some,
        f"recall_at_{k}": found / some,
        f"ndcg_at_{k}": gains.sum(axis=1) / np.where(ideal > 0, ideal, 1),
    }


def means(values: Mapping[str, Values], classes: npt.NDArray[np.int64], k: int) -> dict[str, float]:
    """Return the means over the queries, (Q,) of whose class numbers are given, with the two that are made of them."""
    found = {name: float(value.mean()) for name, value in values.items()}
    precision = values[f"precision_at_{k}"]
    counts = np.bincount(classes)
    by_class = np.bincount(classes, precision) / np.maximum(counts, 1)
    found[f"weighted_precision_at_{k}"] = float((by_class * counts).sum() / counts.sum())
    return {**found, "main_score": found[f"precision_at_{k}"]}
