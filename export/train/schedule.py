"""The order of the images, the learning rate and the random numbers of a step, from its number and the seed alone."""

import math

import numpy as np
import numpy.typing as npt

from cbir.errors import UsageError
from cbir.evaluation.retrieval import Rows

from .recipe import Recipe

_TOGETHER = 4
"""Images of a class that follow each other in a batch for a loss of pairs, as far as there are so many."""


def batches_of(rows: Rows, targets: npt.NDArray[np.int64], recipe: Recipe, pairs: bool, epoch: int) -> list[Rows]:
    """Return the batches of an epoch: each of the rows once, in random order.

    They have nearly the same size: a small last batch would have strange means for a batch norm.
    With `pairs`, images of a class come in groups of four, so that most have a partner in their batch.
    """
    rng = np.random.default_rng([recipe.seed, epoch])
    order = rng.permutation(rows)
    if pairs:
        by_class = order[np.argsort(targets[order], kind="stable")]
        ends = np.flatnonzero(np.diff(targets[by_class])) + 1
        groups = [group for same in np.split(by_class, ends) for group in _groups(same)]
        order = np.concatenate([groups[i] for i in rng.permutation(len(groups))])
    if len(order) < 2:
        raise UsageError("A training needs at least two images in its training part. Use more images")
    count = min(math.ceil(len(order) / recipe.batch_size), len(order) // 2)
    return list(np.array_split(order, count))


def learning_rate_factor(step: int, steps: int, warm_up: float) -> float:
    """Return the share of the highest learning rate: it rises along a line, then falls along half a cosine to 0.

    Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017, without restarts.
    """
    rising = math.ceil(warm_up * steps)
    if step < rising:
        return (step + 1) / rising
    return (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising))) / 2


def seed_of(seed: int, step: int) -> int:
    """Return the seed of a step's random numbers."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _groups(same: Rows) -> list[Rows]:
    return np.split(same, range(_TOGETHER, len(same), _TOGETHER))
