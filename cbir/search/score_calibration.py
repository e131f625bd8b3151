"""What a score means in one collection, from how similar its images are to each other.

A cosine of 0.8 is a near-duplicate for one model and nothing special for another. The percentile of a score among all
pairs of the collection, or the share of such pairs with one label, can be compared between models. Scores of texts are
much lower than those of images, so they have a calibration of their own.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cbir.records import Vector
from cbir.stores.base import Store

SAMPLE = 1000
"""Points to sample: half a million pairs, which give percentiles to 2e-6."""

COMMON_WORDS = (
    "apple baby bag beach bed bicycle bird boat book bottle bridge building bus cake camera car cat chair child "
    "church city clock cloud computer cup desk dog door dress face field fire fish flag flower food garden glass "
    "guitar hand hat horse house insect jacket key kitchen lamp letter man map mirror moon mountain night number "
    "painting park pen person phone plate river road room sea shirt shoe sign sky snow sport star street sun table "
    "tower toy train tree umbrella wall watch water wheel window woman"
)
"""Texts in addition to a collection's labels: what people may search for, whether the collection has it or not."""

_MOST_LABELS = 200
_LONGEST_LABEL = 200
_PAIRS_PER_BIN = 100
_STEPS = 100_000

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ScoreCalibration:
    """The distribution of the scores of a collection's pairs. Safe to share between threads.

    `of_texts` is True for pairs of a text and an image. Such a pair has "one label" if the text is the image's label.

    Attributes:
        scores: Scores (n,), rising from -1 to 1.
        shares: The percentile of each, rising from 0 to 1.
        class_scores: Scores (m,), rising; empty without labels or with too few pairs.
        class_shares: The share of pairs with about this score that have one label, never falling.
    """

    scores: Floats
    shares: Floats
    class_scores: Floats
    class_shares: Floats
    of_texts: bool = False

    def percentile(self, score: float) -> float:
        """Return the share of pairs with a lower score, from 0 to 1.

        Pairs with the same score count half, and between scores it is interpolated. So it rises strictly from 0 at -1
        to 1 at 1, and `score_at` is its inverse.
        """
        return float(np.interp(score, self.scores, self.shares))

    def score_at(self, percentile: float) -> float:
        """Return the score with this percentile, from 0 to 1."""
        return float(np.interp(percentile, self.shares, self.scores))

    def same_class(self, score: float) -> float | None:
        """Return the share of pairs with about this score that have one label. It never falls as the score rises.

        None if fewer than 100 pairs of points have labels.
        """
        return float(np.interp(score, self.class_scores, self.class_shares)) if len(self.class_scores) else None


def calibrate(store: Store, seed: int = 0, sample: int = SAMPLE) -> ScoreCalibration:
    """Return the calibration of a collection, from all pairs of a random sample of its points."""
    found = _sampled(store, seed, sample)
    if len(found) < 2:
        return of_pairs(np.empty(0, np.float32), np.empty(0, np.int8))
    vectors = np.stack([vector for vector, _ in found])
    numbers: dict[object, int] = {None: -1}
    labels = np.array([numbers.setdefault(label, len(numbers)) for _, label in found])
    pairs = np.triu(np.ones((len(found), len(found)), bool), 1)
    same = np.equal.outer(labels, labels)[pairs].astype(np.int8)
    same[np.minimum.outer(labels, labels)[pairs] < 0] = -1
    return of_pairs((vectors @ vectors.T)[pairs], same)


def calibrate_texts(
    store: Store, embed: Callable[[list[str]], Vector], seed: int = 0, sample: int = SAMPLE
) -> ScoreCalibration:
    """Return the calibration of texts, from all pairs of a text and a point of a random sample.

    The texts are the labels of the sample and some common words; `embed` returns their unit vectors.
    """
    found = _sampled(store, seed, sample)
    if not found:
        return of_pairs(np.empty(0, np.float32), np.empty(0, np.int8), of_texts=True)
    counts = Counter(label for _, label in found if isinstance(label, str) and label.strip())
    labels = [label for label, _ in counts.most_common(_MOST_LABELS) if len(label) <= _LONGEST_LABEL]
    texts = list(dict.fromkeys([*labels, *COMMON_WORDS.split()]))
    scores = embed(texts) @ np.stack([vector for vector, _ in found]).T
    same = np.full(scores.shape, -1, np.int8)
    for row, label in enumerate(labels):
        same[row] = [label == other for _, other in found]
    return of_pairs(scores.ravel(), same.ravel(), of_texts=True)


def of_pairs(scores: npt.NDArray[np.float32], same: npt.NDArray[np.int8], of_texts: bool = False) -> ScoreCalibration:
    """Return the calibration of pairs from their cosines (n,), rounded to 1e-5, and labels (n,).

    `same` is 1 for a pair with one label, 0 with two, and -1 if a label is missing.
    """
    steps = np.rint(_STEPS * (np.clip(scores, -1, 1) + 1)).astype(np.int32)
    counts = np.bincount(steps, minlength=2 * _STEPS + 1)
    inner = np.flatnonzero(counts[1:-1]) + 1
    middles = (np.cumsum(counts) - counts / 2) / max(1, len(scores))
    return ScoreCalibration(
        np.concatenate([[-1.0], inner / _STEPS - 1, [1.0]]),
        np.concatenate([[0.0], middles[inner], [1.0]]),
        *_class_shares(steps[same >= 0], same[same >= 0]),
        of_texts,
    )


def _sampled(store: Store, seed: int, sample: int) -> list[tuple[Vector, object]]:
    """Return the vectors and labels of a random sample of points. A point without a label has None."""
    ids = store.sample(sample, seed)
    return [
        (vector, payload.get("label"))
        for vector, payload in zip(store.vectors(ids), store.payloads(ids), strict=True)
        if vector is not None and payload is not None  # None if just deleted
    ]


def _class_shares(steps: npt.NDArray[np.int32], same: npt.NDArray[np.int8]) -> tuple[Floats, Floats]:
    """Return the isotonic regression of `same` on the scores, by pool-adjacent-violators, over bins of about 100 pairs.

    R. Barlow et al., Statistical Inference under Order Restrictions, 1972, section 1.2.
    """
    if len(steps) < _PAIRS_PER_BIN:
        return np.empty(0), np.empty(0)
    counts = np.bincount(steps)
    bins = ((len(steps) - np.cumsum(counts)) // _PAIRS_PER_BIN)[steps]
    tallies = (np.bincount(bins), np.bincount(bins, same), np.bincount(bins, steps / _STEPS - 1))
    blocks: list[tuple[float, float, float]] = []  # pairs, pairs with one label, sum of the scores
    for block in zip(*(tally[::-1].tolist() for tally in tallies), strict=True):
        if not block[0]:
            continue
        while blocks and blocks[-1][1] * block[0] >= block[1] * blocks[-1][0]:
            pairs, alike, total = blocks.pop()
            block = (block[0] + pairs, block[1] + alike, block[2] + total)
        blocks.append(block)
    pairs, alike, totals = np.array(blocks, np.float64).T
    return totals / pairs, alike / pairs
