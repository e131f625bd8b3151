"""What a score means in one collection, told by how alike its pictures are to each other.

A cosine of 0.8 is a near twin for one model and nothing for the next. A percentile of the collection's own pairs, or
the share of such pairs that have one class, says the same for all of them.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cbir.stores.base import Store

SAMPLE = 1000
"""Points, whose half a million pairs tell percentiles to 2e-6."""

_PAIRS_A_BIN = 100
_STEPS = 100_000

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ScoreCalibration:
    """How the scores of a collection's pairs are spread. Safe to share between threads.

    Attributes:
        scores: Scores (n,), rising from -1 to 1.
        shares: The percentile of each, rising from 0 to 1.
        class_scores: Scores (m,), rising; none where there are no labels or too few pairs.
        class_shares: The share of pairs with about each of these that have one label, never falling.
    """

    scores: Floats
    shares: Floats
    class_scores: Floats
    class_shares: Floats

    def percentile(self, score: float) -> float:
        """Return the share of pairs of points that are less alike than this score, from 0 to 1.

        Pairs that are just as alike count by half, what lies between two pairs' scores is interpolated, and a score
        of 1 has the percentile 1. So it rises strictly, and `score_at` is its inverse; without pairs it is linear.
        """
        return float(np.interp(score, self.scores, self.shares))

    def score_at(self, percentile: float) -> float:
        """Return the score that has this percentile, from 0 to 1."""
        return float(np.interp(percentile, self.shares, self.scores))

    def same_class(self, score: float) -> float | None:
        """Return the share of pairs with about this score that have one label, which never falls as the score rises.

        None where nothing can be said: the points have no labels, or there are fewer than 100 pairs of labelled ones.
        """
        return float(np.interp(score, self.class_scores, self.class_shares)) if len(self.class_scores) else None


def calibrate(store: Store, seed: int = 0, sample: int = SAMPLE) -> ScoreCalibration:
    """Return the calibration of a collection, from all pairs of a random sample of its points.

    Vectors and labels are read by id, which asks no engine.

    Raises:
        CbirError: The store failed.
    """
    ids = store.sample(sample, seed)
    found = [
        (vector, payload.get("label"))
        for vector, payload in zip(store.vectors(ids), store.payloads(ids), strict=True)
        if vector is not None and payload is not None  # both are there, unless just deleted
    ]
    if len(found) < 2:
        return of_pairs(np.empty(0, np.float32), np.empty(0, np.int8))
    vectors = np.stack([vector for vector, _ in found])
    numbers: dict[object, int] = {None: -1}
    labels = np.array([numbers.setdefault(label, len(numbers)) for _, label in found])
    pairs = np.triu(np.ones((len(found), len(found)), bool), 1)
    same = np.equal.outer(labels, labels)[pairs].astype(np.int8)
    same[np.minimum.outer(labels, labels)[pairs] < 0] = -1
    return of_pairs((vectors @ vectors.T)[pairs], same)


def of_pairs(scores: npt.NDArray[np.float32], same: npt.NDArray[np.int8]) -> ScoreCalibration:
    """Return the calibration that pairs make, their scores rounded to 1e-5.

    Args:
        scores: Their cosines, (n,).
        same: 1 for a pair of one label, 0 of two, -1 where one has none, (n,).
    """
    steps = np.rint(_STEPS * (np.clip(scores, -1, 1) + 1)).astype(np.int32)
    counts = np.bincount(steps, minlength=2 * _STEPS + 1)
    inner = np.flatnonzero(counts[1:-1]) + 1
    middles = (np.cumsum(counts) - counts / 2) / max(1, len(scores))
    return ScoreCalibration(
        np.concatenate([[-1.0], inner / _STEPS - 1, [1.0]]),
        np.concatenate([[0.0], middles[inner], [1.0]]),
        *_class_shares(steps[same >= 0], same[same >= 0]),
    )


def _class_shares(steps: npt.NDArray[np.int32], same: npt.NDArray[np.int8]) -> tuple[Floats, Floats]:
    """Return the isotonic regression of `same` on the scores, by pool-adjacent-violators.

    R. Barlow et al., Statistical Inference under Order Restrictions, 1972, section 1.2. Over bins of about 100 pairs,
    counted from the best.
    """
    if len(steps) < _PAIRS_A_BIN:
        return np.empty(0), np.empty(0)
    counts = np.bincount(steps)
    bins = ((len(steps) - np.cumsum(counts)) // _PAIRS_A_BIN)[steps]
    tallies = (np.bincount(bins), np.bincount(bins, same), np.bincount(bins, steps / _STEPS - 1))
    blocks: list[tuple[float, float, float]] = []  # pairs, those of one label, sum of the scores
    for block in zip(*(tally[::-1].tolist() for tally in tallies), strict=True):
        if not block[0]:
            continue
        while blocks and blocks[-1][1] * block[0] >= block[1] * blocks[-1][0]:
            pairs, alike, total = blocks.pop()
            block = (block[0] + pairs, block[1] + alike, block[2] + total)
        blocks.append(block)
    pairs, alike, totals = np.array(blocks, np.float64).T
    return totals / pairs, alike / pairs
