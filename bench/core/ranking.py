"""Compare ranked lists, ties taken into account: pure functions that know no store and no model.

Scores of the same float32 vectors differ in their last digits, and a data set holds exact copies. So scores within
`EPSILON` of each other count as equal. With 1280 dimensions the stores come within 2e-6 of the float64 score, and the
median difference from one rank to the next is above 1e-3.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

EPSILON = 1e-5
RBO_P = 0.9
Difference = tuple[int, float | None]
"""The first rank that differs, and the difference of the scores there, None if one list has ended."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """The hits of one query, best first: distinct ids and their scores."""

    ids: tuple[str, ...]
    scores: tuple[float, ...]


def recall(true_scores: Iterable[float], threshold: float, k: int, epsilon: float = EPSILON) -> float:
    """Return the share of places with a hit as good as the k-th neighbour; a tie counts, as in ann-benchmarks."""
    return sum(score >= threshold - epsilon for score in true_scores) / k


def first_difference(left: Ranking, right: Ranking, epsilon: float = EPSILON) -> Difference | None:
    """Return where two rankings first differ apart from the order of equal scores, or None.

    The lists are cut where the score falls by more than `epsilon` in both. Each stretch must have equal scores rank by
    rank and the same ids; in the last one, which of the ids that are tied with the last place are included is chance.
    """
    for start, stop in _stretches(left, right, epsilon):
        ids = set(right.ids[start:stop])
        is_last = stop == max(len(left.ids), len(right.ids))
        for i in range(start, stop):
            delta = abs(left.scores[i] - right.scores[i])
            if delta > epsilon or (not is_last and left.ids[i] not in ids):
                return i + 1, delta
    if len(left.ids) != len(right.ids):
        return min(len(left.ids), len(right.ids)) + 1, None
    return None


def overlap(left: Ranking, right: Ranking, k: int, epsilon: float = EPSILON) -> float:
    """Return the share of the `k` places filled with common ids, or in the last stretch with equal scores."""
    common = set(left.ids) & set(right.ids)
    stretches = _stretches(left, right, epsilon)
    start, stop = stretches[-1] if stretches else (0, 0)
    tied = [i for i in range(start, stop) if abs(left.scores[i] - right.scores[i]) <= epsilon]
    others = [sum(ranking.ids[i] not in common for i in tied) for ranking in (left, right)]
    return (len(common) + min(others)) / k


def score_difference(left: Ranking, right: Ranking) -> float | None:
    """Return the largest difference between the two scores of an id that both have, or None if they share none."""
    scores = dict(zip(right.ids, right.scores, strict=True))
    found = [abs(score - scores[id_]) for id_, score in zip(left.ids, left.scores, strict=True) if id_ in scores]
    return max(found, default=None)


def kendall_tau_b(left: Ranking, right: Ranking, epsilon: float = EPSILON) -> float | None:
    """Return Kendall's tau-b of the ids that both have, from -1 to 1; None for fewer than two, or if all are tied."""
    from scipy.stats import kendalltau

    levels = [  # by id: the number of its tie group
        dict(zip(ranking.ids, accumulate([0, *_falls(ranking.scores, epsilon)]), strict=False))
        for ranking in (left, right)
    ]
    common = [id_ for id_ in left.ids if id_ in levels[1]]
    x, y = ([level[id_] for id_ in common] for level in levels)
    return float(kendalltau(x, y).statistic) if len(set(x)) > 1 and len(set(y)) > 1 else None


def rank_biased_overlap(left: Ranking, right: Ranking, p: float = RBO_P, epsilon: float = EPSILON) -> float | None:
    """Return how much two rankings agree, the first places most: from 0 (nothing) to 1, None if both are empty.

    RBO_ext of Webber, Moffat and Zobel, "A similarity measure for indefinite rankings", ACM TOIS 28(4), 2010,
    equation 32: A(l) p^l + (1 - p) / p * sum of A(d) p^d over the l places, where A(d) is the agreement of the lists
    down to depth d, and the agreement beyond their end is taken to stay the same. `p` is the weight of a place relative
    to the one before it. Tied ids stand at the rank of the first of them (the same article; "RBO^w" in Corsi and
    Urbano, "The treatment of ties in rank-biased overlap", SIGIR 2024), so that A(d) = 2 X(d) / (n1(d) + n2(d)) with
    the numbers of ids in both and in each. What is chance in `first_difference` is no disagreement.
    """
    longest, shortest = max(len(left.ids), len(right.ids)), min(len(left.ids), len(right.ids))
    if not shortest:
        return 0.0 if longest else None
    ranks = _tied_ranks(left, right, epsilon)
    if longest == shortest and abs(left.scores[-1] - right.scores[-1]) <= epsilon:
        last = [max(by_id.values()) for by_id in ranks]
        spare = [
            [id_ for id_, rank in mine.items() if rank == end and id_ not in theirs]
            for mine, theirs, end in zip(ranks, reversed(ranks), last, strict=True)
        ]
        for mine, theirs in zip(*spare, strict=False):
            ranks[1][mine] = ranks[1].pop(theirs)
    both = [max(rank, ranks[1][id_]) for id_, rank in ranks[0].items() if id_ in ranks[1]]
    depths = np.arange(1, longest + 1)
    shared, *sizes = (
        np.bincount(np.array(found, dtype=int), minlength=longest + 1)[1:].cumsum()
        for found in (both, list(ranks[0].values()), list(ranks[1].values()))
    )
    places = np.maximum(sizes[0], depths) + np.maximum(sizes[1], depths)  # a list that has ended goes on unseen
    unseen = 2 * shared[shortest - 1] / places[shortest - 1] * np.maximum(depths - shortest, 0)
    agreement = 2 * (shared + unseen) / places
    return float(agreement[-1] * p**longest + (1 - p) / p * (agreement * p**depths).sum())


def _tied_ranks(left: Ranking, right: Ranking, epsilon: float) -> list[dict[str, int]]:
    """Return the rank of each id by list: that of the first id in its tie. A fall by rounding is none."""
    inside = {
        i
        for start, stop in _stretches(left, right, epsilon)
        if all(abs(left.scores[i] - right.scores[i]) <= epsilon for i in range(start, stop))
        for i in range(start + 1, stop)
    }
    ranks = []
    for ranking in (left, right):
        falls = [fall and i not in inside for i, fall in enumerate(_falls(ranking.scores, epsilon), 1)]
        starts = [1, *(i + 1 if fall else 1 for i, fall in enumerate(falls, 1))]
        ranks.append(dict(zip(ranking.ids, accumulate(starts, max), strict=False)))
    return ranks


def _stretches(left: Ranking, right: Ranking, epsilon: float) -> list[tuple[int, int]]:
    """Return (start, stop) of the stretches of both lists, up to the end of the shorter one, cut where both fall."""
    length = min(len(left.ids), len(right.ids))
    falls = zip(_falls(left.scores[:length], epsilon), _falls(right.scores[:length], epsilon), strict=True)
    cuts = [0, *(i for i, both in enumerate(falls, 1) if all(both)), length]
    return list(pairwise(cuts)) if length else []


def _falls(scores: Sequence[float], epsilon: float) -> list[bool]:
    return [abs(left - right) > epsilon for left, right in pairwise(scores)]
