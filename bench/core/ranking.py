"""Comparing ranked lists, with equal scores in mind: pure functions, no store and no model.

A score that two programs compute from the same float32 vectors differs in its last digits, and a data set holds exact
copies, so the order of (nearly) equal scores means nothing. Scores within `EPSILON` of each other count as equal
here: on 1280 dimensions the stores come within 2e-6 of the float64 score, while the median distance from one rank to
the next is above 1e-3.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

EPSILON = 1e-5
RBO_P = 0.9


@dataclass(frozen=True, slots=True)
class Ranking:
    """The hits of one query, best first: distinct ids and their scores."""

    ids: tuple[str, ...]
    scores: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.scores) or len(set(self.ids)) != len(self.ids):
            raise ValueError("a ranking needs distinct ids and a score for each")


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two rankings first differ. `delta` is the distance of their scores there, None where one has ended."""

    rank: int
    delta: float | None


def recall(true_scores: Iterable[float], threshold: float, k: int, epsilon: float = EPSILON) -> float:
    """Return the share of the `k` places that are filled with a hit as good as the true k-th neighbour.

    Recall by threshold as in ann-benchmarks (`plotting/metrics.py`, `knn`), so that ties cannot fake a miss.
    `true_scores` are the exact scores of the distinct hits of one query, `threshold` is that of the k-th neighbour.
    """
    return sum(score >= threshold - epsilon for score in true_scores) / k


def first_difference(one: Ranking, other: Ranking, epsilon: float = EPSILON) -> Difference | None:
    """Return where two rankings first differ other than by the order of equal scores, or None.

    The lists are cut where the score falls by more than `epsilon` in both; each stretch must hold the same ids, with
    equal scores rank by rank. Only the last stretch may hold others: its ids are tied with the last place, and which
    of them still got in is chance.
    """
    for start, stop in _stretches(one, other, epsilon):
        rest = set(other.ids[start:stop])
        last = stop == max(len(one.ids), len(other.ids))
        for at in range(start, stop):
            delta = abs(one.scores[at] - other.scores[at])
            if delta > epsilon or (not last and one.ids[at] not in rest):
                return Difference(at + 1, delta)
    if len(one.ids) != len(other.ids):
        return Difference(min(len(one.ids), len(other.ids)) + 1, None)
    return None


def overlap(one: Ranking, other: Ranking, k: int, epsilon: float = EPSILON) -> float:
    """Return the share of the `k` places that two rankings fill alike.

    Alike are the ids that both have, and pairs of other ids that are tied with the last place: they stand in the
    last stretch (see `first_difference`), at ranks where the scores of both lists are equal.
    """
    common = set(one.ids) & set(other.ids)
    stretches = _stretches(one, other, epsilon)
    start, stop = stretches[-1] if stretches else (0, 0)
    tied = [at for at in range(start, stop) if abs(one.scores[at] - other.scores[at]) <= epsilon]
    only = [sum(ranking.ids[at] not in common for at in tied) for ranking in (one, other)]
    return (len(common) + min(only)) / k


def score_difference(one: Ranking, other: Ranking) -> float | None:
    """Return the largest distance between the two scores of an id that both have, or None if they share none."""
    theirs = dict(zip(other.ids, other.scores, strict=True))
    found = [abs(score - theirs[id_]) for id_, score in zip(one.ids, one.scores, strict=True) if id_ in theirs]
    return max(found, default=None)


def kendall_tau_b(one: Ranking, other: Ranking, epsilon: float = EPSILON) -> float | None:
    """Return the rank correlation of the ids that both have, from -1 to 1, or None where it is undefined.

    tau-b = (C - D) / sqrt((n0 - n1) (n0 - n2)) over the n0 pairs of common ids, C of them in the same and D in the
    opposite order, n1 and n2 tied in one or the other list (Kendall, "The treatment of ties in ranking problems",
    Biometrika 33, 1945). The order is the order of the lists, and ids whose scores are equal are tied. Undefined with
    fewer than two common ids, or where all of them are tied in one list.
    """
    levels = [  # the number of the tie group that each id stands in
        dict(zip(ranking.ids, accumulate([0, *_falls(ranking.scores, epsilon)]), strict=False))
        for ranking in (one, other)
    ]
    common = [id_ for id_ in one.ids if id_ in levels[1]]
    x, y = (np.array([level[id_] for id_ in common], dtype=int) for level in levels)
    first, second = np.triu_indices(len(common), 1)
    dx, dy = np.sign(x[first] - x[second]), np.sign(y[first] - y[second])
    scale = int(np.count_nonzero(dx)) * int(np.count_nonzero(dy))
    return float((dx * dy).sum() / np.sqrt(scale)) if scale else None


def rank_biased_overlap(one: Ranking, other: Ranking, p: float = RBO_P, epsilon: float = EPSILON) -> float | None:
    """Return how much two rankings agree, the top most of all: from 0 (nothing in common) to 1, None if both are empty.

    RBO_ext of Webber, Moffat and Zobel, "A similarity measure for indefinite rankings", ACM TOIS 28(4), 2010,
    equation 32: with the agreement A(d) of the lists down to depth d, and what lies behind them assumed to agree as
    they do, it is A(l) p^l + (1 - p) / p * sum of A(d) p^d over the l places. Tied ids stand at the rank of the first
    of them (the same article; "RBO^w" in Corsi and Urbano, "The treatment of ties in rank-biased
    overlap", SIGIR 2024), so that A(d) = 2 X(d) / (n1(d) + n2(d)) over the numbers of ids in both and in each.

    Tied are ids whose scores in a list are equal. Two more things are no disagreement, as in `first_difference`: a
    fall of about `epsilon` that only one of two lists with equal scores has, and which of the ids that are tied with
    the last place still got in.

    `p` is the weight of a place by that of the one before it; the first ten have 86 in 100 of the weight at 0.9.
    """
    depth, seen = max(len(one.ids), len(other.ids)), min(len(one.ids), len(other.ids))
    if not seen:
        return 0.0 if depth else None
    ranks = _tied_ranks(one, other, epsilon)
    if depth == seen and abs(one.scores[-1] - other.scores[-1]) <= epsilon:
        last = [max(places.values()) for places in ranks]
        spare = [
            [id_ for id_, rank in mine.items() if rank == end and id_ not in theirs]
            for mine, theirs, end in zip(ranks, reversed(ranks), last, strict=True)
        ]
        for mine, theirs in zip(*spare, strict=False):
            ranks[1][mine] = ranks[1].pop(theirs)
    both = [max(rank, ranks[1][id_]) for id_, rank in ranks[0].items() if id_ in ranks[1]]
    at = np.arange(1, depth + 1)
    shared, *sizes = (
        np.bincount(np.array(found, dtype=int), minlength=depth + 1)[1:].cumsum()
        for found in (both, list(ranks[0].values()), list(ranks[1].values()))
    )
    places = np.maximum(sizes[0], at) + np.maximum(sizes[1], at)  # a list that has ended goes on unseen
    unseen = 2 * shared[seen - 1] / places[seen - 1] * np.maximum(at - seen, 0)
    agreement = 2 * (shared + unseen) / places
    return float(agreement[-1] * p**depth + (1 - p) / p * (agreement * p**at).sum())


def first(ranking: Ranking, k: int) -> Ranking:
    """Return the first `k` hits of a ranking."""
    return Ranking(ranking.ids[:k], ranking.scores[:k])


def _tied_ranks(one: Ranking, other: Ranking, epsilon: float) -> tuple[dict[str, int], dict[str, int]]:
    """Return for each id of each list the rank of the first one that it is tied with.

    Where both lists have equal scores rank by rank down to where both fall, all of a stretch is tied in both: a fall
    within it is one of about epsilon, which rounding made.
    """
    inside = {
        at
        for start, stop in _stretches(one, other, epsilon)
        if all(abs(one.scores[at] - other.scores[at]) <= epsilon for at in range(start, stop))
        for at in range(start + 1, stop)
    }
    ranks = []
    for ranking in (one, other):
        falls = [fall and at not in inside for at, fall in enumerate(_falls(ranking.scores, epsilon), 1)]
        starts = accumulate(enumerate(falls, 1), lambda start, one: one[0] + 1 if one[1] else start, initial=1)
        ranks.append(dict(zip(ranking.ids, starts, strict=False)))
    return ranks[0], ranks[1]


def _stretches(one: Ranking, other: Ranking, epsilon: float) -> list[tuple[int, int]]:
    """Return (start, stop) of the stretches of both lists, up to the end of the shorter one.

    A cut needs a fall in both: where one list falls by a bit more than epsilon and the other by a bit less, rounding
    alone would otherwise part what belongs together.
    """
    length = min(len(one.ids), len(other.ids))
    if not length:
        return []
    falls = zip(_falls(one.scores[:length], epsilon), _falls(other.scores[:length], epsilon), strict=True)
    cuts = [0, *(at for at, both in enumerate(falls, 1) if all(both)), length]
    return list(pairwise(cuts))


def _falls(scores: Sequence[float], epsilon: float) -> list[bool]:
    return [abs(left - right) > epsilon for left, right in pairwise(scores)]
