"""Which differences between models are more than chance: bootstrap intervals, paired tests, and ranks made of both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
LEVEL = 0.95
FLIPS = 9_999
_ALPHA = 0.05
_CELLS = 10_000_000  # of the arrays that SciPy makes at once


@dataclass(frozen=True)
class Pair:
    """Two models, by number, on the same queries: the difference of their Precision@k and its paired 95 % interval.

    `p` is that of no difference, by flipping signs. `better` is the number of the model that is better beyond chance.
    """

    models: tuple[int, int]
    difference: float
    interval: tuple[float, float]
    p: float
    p_holm: float
    better: int | None


def compare_models(
    values: Sequence[Mapping[str, Values]], main: str, resamples: int, seed: int
) -> tuple[list[dict[str, tuple[float, float]]], list[Pair]]:
    """Return the intervals of each model's metrics, and all pairs compared by the metric `main`.

    `values` has the values of every query, (Q,), by metric for each model.
    """
    metrics = list(values[0])
    numbers = list(combinations(range(len(values)), 2))
    differences = [values[first][main] - values[second][main] for first, second in numbers]
    rows = [model[metric] for model in values for metric in metrics]
    bounds = iter(intervals(np.stack([*rows, *differences]), resamples, seed))
    by_model = [{metric: next(bounds) for metric in metrics} for _ in values]
    p_values = [sign_flip(difference, seed) for difference in differences]
    pairs = []
    for models, difference, p, p_holm in zip(numbers, differences, p_values, holm(p_values), strict=True):
        (low, high), mean = next(bounds), float(difference.mean())
        better = models[mean < 0] if p_holm < _ALPHA and (low > 0 or high < 0) else None
        pairs.append(Pair(models, mean, (low, high), p, p_holm, better))
    return by_model, pairs


def intervals(values: Values, resamples: int, seed: int) -> list[tuple[float, float]]:
    """Return the bootstrap interval of the mean of each row of (M, Q) values.

    All rows have the same resamples of the queries, so the interval of a row of differences is paired.
    """
    from scipy.stats import bootstrap

    batch = max(1, _CELLS // values.size)
    result = bootstrap(
        (values,), np.mean, axis=-1, n_resamples=resamples, batch=batch, method="percentile", rng=seed
    ).confidence_interval
    return list(zip(result.low.tolist(), result.high.tolist(), strict=True))


def sign_flip(differences: Values, seed: int) -> float:
    """Return the two-sided p-value of paired differences (Q,) having a mean of 0, by flipping their signs at random.

    Differences of 0 are left out, because flipping does not change them. This makes the test much faster.
    """
    from scipy.stats import permutation_test

    differences = differences[differences != 0]
    if len(differences) < 2:
        return 1.0
    batch = max(1, _CELLS // differences.size)
    result = permutation_test(
        (differences,), np.sum, permutation_type="samples", n_resamples=FLIPS, batch=batch, axis=-1, rng=seed
    )
    return float(result.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values corrected for their number (Holm 1979)."""
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable").tolist()):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - rank)))
        corrected[index] = largest
    return corrected


def ranks(count: int, pairs: Sequence[Pair]) -> list[int]:
    """Return each model's rank: 1 plus the number of models that are better beyond chance."""
    losers = [sum(pair.models) - pair.better for pair in pairs if pair.better is not None]
    return [1 + losers.count(number) for number in range(count)]
