"""Which differences between models the queries support: bootstrap intervals, paired tests, and ranks made of both."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
LEVEL = 0.95
FLIPS = 10_000
_AT_ONCE = 200


def bootstrap(values: Values, resamples: int, seed: int) -> Values:
    """Return the means (resamples, M) of so many resamples of the Q queries of (Q, M) values, all columns alike.

    Queries are drawn with replacement (Efron 1979); since a resample is the same for all columns, the difference of two
    of them is paired.
    """
    count = len(values)
    rng = np.random.default_rng(seed)
    chunks = [
        rng.multinomial(count, np.full(count, 1 / count), min(_AT_ONCE, resamples - start)) @ values / count
        for start in range(0, resamples, _AT_ONCE)
    ]
    return np.concatenate(chunks)


def interval(means: Values, level: float = LEVEL) -> tuple[float, float]:
    """Return the percentile interval of the bootstrapped means (resamples,) of one column."""
    rest = 50 * (1 - level)
    low, high = np.percentile(means, [rest, 100 - rest]).tolist()
    return low, high


def sign_flip(differences: Values, seed: int, flips: int = FLIPS) -> Values:
    """Return the two-sided p-value (M,) of each column of (Q, M) paired differences having a mean of 0.

    The signs of the queries' differences are flipped at random (Fisher's randomisation test): where two models are
    alike, each sign is as good as the other. The observed one counts as one of the flips, so that p is never 0.
    """
    observed = np.abs(differences.sum(axis=0)) - 1e-9
    rng = np.random.default_rng(seed)
    as_large = np.ones(differences.shape[1])
    for start in range(0, flips, _AT_ONCE):
        count = min(_AT_ONCE, flips - start)
        signs = rng.integers(0, 2, (count, len(differences)), np.int8) * 2.0 - 1
        as_large += (np.abs(signs @ differences) >= observed).sum(axis=0)
    return as_large / (flips + 1)


def mcnemar(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> float:
    """Return the exact two-sided p-value of two models being right equally often on the same queries.

    Of the queries that only one is right on, each is as likely to be the first's as the second's (McNemar 1947).
    """
    from scipy.stats import binomtest

    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    total = only_first + only_second
    return float(binomtest(only_first, total).pvalue) if total else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values corrected for there being so many (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    corrected = [0.0] * len(p_values)
    least = 0.0
    for place, at in enumerate(order.tolist()):
        least = max(least, min(1.0, p_values[at] * (len(p_values) - place)))
        corrected[at] = least
    return corrected


def ranks(count: int, better: Sequence[tuple[int, int]]) -> list[int]:
    """Return each model's rank: 1 and the number of models that are better than it beyond chance."""
    return [1 + sum(worse == at for _, worse in better) for at in range(count)]
