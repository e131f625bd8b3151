"""A projection from a sentence encoder's vectors to those of an image model, learned from captions.

A linear map in closed form, plus a small network, trained with the contrastive loss of CLIP (Radford et al., 2021) on
frozen vectors of both sides. Texts lie orthogonal to the mean image: how much an image is like the mean says nothing
about a text.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import cross_entropy, gelu, normalize

from cbir import terminal
from cbir.evaluation.captions import ranks
from cbir.records import Vector

from .captions import CaptionTexts, Numbers

_RIDGE = 1.0
_DROPOUT = 0.2
_INPUT_SCALE = 10.0
"""Of the unit vectors of texts before the network, whose components are small."""

_FIRST_SCALE, _MOST_SCALE = 20.0, 100.0
_SHORTER = 0.5
"""The share of captions that are replaced by shorter ones made of their words."""

_WARM_UP = 0.1001
"""The share of the steps. It is not 0.1: a warm-up of exactly one step is a division by zero in torch."""

_BATCH = 1024
_EPOCHS_PER_CHECK = 2
_CHECKED_RANK = 10


class Projection(torch.nn.Module):  # type: ignore[misc]
    """From unit vectors of texts (N, E) to unit vectors (N, D) that can be compared with those of images."""

    def __init__(self, linear: torch.Tensor, mean: torch.Tensor, hidden: int):
        super().__init__()
        self.linear = torch.nn.Parameter(linear)
        self.hidden = torch.nn.Linear(linear.shape[0], hidden)
        self.output = torch.nn.Linear(hidden, linear.shape[1])
        torch.nn.init.normal_(self.output.weight, std=0.002)  # starts as the linear map
        torch.nn.init.zeros_(self.output.bias)
        self.dropout = torch.nn.Dropout(_DROPOUT)
        self.register_buffer("mean", normalize(mean, dim=0))

    def forward(self, texts: torch.Tensor) -> torch.Tensor:
        """Return float32 (N, D) unit vectors."""
        hidden = gelu(self.hidden(self.dropout(texts * _INPUT_SCALE)))
        vectors = self.output(self.dropout(hidden)) + texts @ self.linear
        return normalize(vectors - (vectors @ self.mean)[:, None] * self.mean)


@dataclass(frozen=True)
class Trained:
    """A trained projection, the factor of cosines in its loss, and the epoch that was best on the validation part."""

    module: Projection
    scale: float
    epoch: int


def train_projection(
    images: Vector, texts: CaptionTexts, embedded: Vector, validation: int, hidden: int, epochs: int, seed: int
) -> Trained:
    """Return a projection trained on unit vectors of images and the `embedded` vectors of their texts.

    The last `validation` images are not trained on; the epoch that finds most of them is kept.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    count = len(images) - validation
    points, sentences = torch.from_numpy(images), torch.from_numpy(embedded)
    mean = points[:count].mean(dim=0)
    targets = normalize(points - mean)
    module = Projection(_linear(targets[:count], texts.own[:count], sentences), mean, hidden)
    log_scale = torch.nn.Parameter(torch.tensor(_FIRST_SCALE).log())
    optimizer = torch.optim.AdamW(
        [{"params": module.parameters(), "weight_decay": 1e-4}, {"params": [log_scale], "weight_decay": 0.0}]
    )
    batch = min(_BATCH, count)
    steps = epochs * (count // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps, pct_start=_WARM_UP)
    best, best_score, best_epoch = copy.deepcopy(module.state_dict()), -1.0, epochs
    with terminal.progress("training", epochs, "epochs") as advance:
        for epoch in range(1, epochs + 1):
            module.train()
            order = rng.permutation(count)
            for start in range(0, count - batch + 1, batch):
                rows = order[start : start + batch]
                found = module(sentences[_choose(texts, rows, rng)])
                logits = log_scale.exp().clamp(max=_MOST_SCALE) * found @ targets[rows].T
                same = torch.arange(len(rows))
                loss = (cross_entropy(logits, same) + cross_entropy(logits.T, same)) / 2
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
            advance(1)
            if validation and (epoch % _EPOCHS_PER_CHECK == 0 or epoch == epochs):
                found_texts = project(module, embedded[[own[0] for own in texts.own[count:]]])
                share = float((ranks(found_texts, images[count:], np.arange(validation)) < _CHECKED_RANK).mean())
                if share >= best_score:
                    best, best_score, best_epoch = copy.deepcopy(module.state_dict()), share, epoch
    if validation:
        module.load_state_dict(best)
    scale = float(log_scale.detach().exp().clamp(max=_MOST_SCALE))
    return Trained(module.eval().requires_grad_(False), scale, best_epoch)


def project(module: Projection, texts: Vector) -> Vector:
    """Return unit vectors (n, D) for unit vectors (n, E) of texts."""
    module.eval()
    with torch.inference_mode():
        vectors: Vector = module(torch.from_numpy(texts)).numpy()
    return vectors


def _linear(targets: torch.Tensor, own: Sequence[Sequence[int]], sentences: torch.Tensor) -> torch.Tensor:
    """Return the linear map (E, D) from texts to targets with the least squares (ridge regression)."""
    texts = sentences[[number for numbers in own for number in numbers]]
    goals = targets[[row for row, numbers in enumerate(own) for _ in numbers]]
    return torch.linalg.solve(texts.T @ texts + _RIDGE * torch.eye(texts.shape[1]), texts.T @ goals)


def _choose(texts: CaptionTexts, rows: Numbers, rng: np.random.Generator) -> Numbers:
    """Return the number of one text for each image: a caption of its own or a shorter one."""
    own = np.array([texts.own[row][rng.integers(len(texts.own[row]))] for row in rows])
    shorter = texts.shorter[rows, rng.integers(0, texts.shorter.shape[1], len(rows))]
    return np.where(rng.random(len(rows)) < _SHORTER, shorter, own)
