"""Train a head for your own classes on a model's frozen vectors, and write model and head as one file.

The loss is the normalised softmax (Zhai and Wu, "Classification is a Strong Baseline for Deep Metric Learning", 2019):
cosines to one learned proxy a class, divided by a temperature; on mixed pairs of vectors (Zhang et al., "mixup", 2018).
The head that is kept has the best Precision@5 when the validation part is searched for in the training part.
"""

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import torch

from cbir import terminal
from cbir.evaluation.embeddings import Labelled
from cbir.evaluation.retrieval import Accuracy, Split, score, split, split_name
from cbir.models.card import Training
from cbir.models.embedder import Embedder
from cbir.records import Vector

from ..convert.build import graph_vectors, write_with_record
from ..convert.head_graph import Head, add_head, apply_head
from ..convert.parity import Link, agree, file_vectors, require, sample_images

log = logging.getLogger(__name__)

TEMPERATURE = 0.2
_BATCH = 512
_MIXUP = 0.4
_EPOCHS_PER_CHECK = 5
_PATIENCE = 15
"""Epochs without a better check after which the training stops."""


@dataclass(frozen=True)
class HeadOptions:
    """How to train a head.

    Attributes:
        dimension: Length of its vectors.
        hidden: Width of the hidden layer, with ReLU; 0 is none, a linear projection.
        epochs: At most.
        seed: Of the split, the initial weights, the order and the pairs.
    """

    dimension: int = 256
    hidden: int = 512
    epochs: int = 30
    seed: int = 42


@dataclass(frozen=True)
class Trained:
    """A head, the split it was trained with, and the test part's metrics without and with it."""

    head: Head
    parts: Split
    epoch: int
    before: Accuracy
    after: Accuracy


def train_head(labelled: Labelled, options: HeadOptions) -> Trained:
    """Return a head trained on the training part; the test part is used once, at the end.

    Raises:
        UsageError: There are fewer than two classes, or too few images to split them.
    """
    _, targets = np.unique(labelled.labels, return_inverse=True)
    parts = split(labelled.labels, options.seed)
    mean = labelled.vectors[parts.train].mean(axis=0)
    spread = float(labelled.vectors[parts.train].std())
    features = torch.from_numpy((labelled.vectors - mean) / spread)
    layers, epoch = _train(features, torch.from_numpy(targets), labelled, parts, options)
    head = _with_input_scale(layers, mean, spread)
    before, after = (
        score(vectors, labelled.labels, parts.train, parts.test)
        for vectors in (labelled.vectors, apply_head(head, labelled.vectors))
    )
    return Trained(head, parts, epoch, before, after)


def write_with_head(embedder: Embedder, head: Head, training: Training, path: Path) -> None:
    """Write a model file with a head after it and its training in its card, and the parity record beside it.

    Raises:
        UsageError: The model has a head already.
        CbirError: The file's vectors are not those of the head in torch.
    """
    model = onnx.load(embedder.path)
    add_head(model, head)
    images = sample_images()
    expected = apply_head(head, file_vectors(Embedder(embedder.path, provider="cpu"), images.files))
    card = replace(embedder.card, name=path.stem, dimension=head.dimension, to_torch=None, training=training)
    agreement = agree(expected, graph_vectors(model, card, images.files), images.labels)
    require(agreement, "fp32", "please report it")
    write_with_record(model, card, path, [Link(f"{embedder.card.name}, then the head", "onnx", agreement)], images)


def training_of(
    kind: Literal["head", "finetune"], data: str, label: str | None, labels: Sequence[str], trained: Trained, seed: int
) -> Training:
    """Return the training that a model's card records."""
    after = trained.after
    return Training(
        kind=kind,
        data=data,
        label=label or "",
        classes=sorted(set(labels)),
        images=len(trained.parts.train),
        split=split_name(seed),
        metrics={
            "precision_at_5": round(after.precision_at_k, 4),
            "hit_rate_at_1": round(after.hit_rate_at_1, 4),
            "hit_rate_at_5": round(after.hit_rate_at_k, 4),
            "mrr_at_5": round(after.mrr_at_k, 4),
        },
    )


def _train(
    features: torch.Tensor, targets: torch.Tensor, labelled: Labelled, parts: Split, options: HeadOptions
) -> tuple[list[torch.nn.Linear], int]:
    """Return the linear layers that were best on the validation part, and their epoch."""
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    widths = [features.shape[1], *([options.hidden] if options.hidden else []), options.dimension]
    layers = [torch.nn.Linear(a, b) for a, b in pairwise(widths)]
    steps: list[torch.nn.Module] = []
    for layer in layers:
        steps += [torch.nn.Dropout(0.3), layer, torch.nn.ReLU()]
    module = torch.nn.Sequential(*steps[:-1])
    classes = int(targets.max()) + 1
    proxies = torch.nn.Parameter(torch.randn(classes, options.dimension))
    wanted = torch.nn.functional.one_hot(targets, classes).float()
    train = torch.from_numpy(parts.train)
    optimizer = torch.optim.AdamW([*module.parameters(), proxies], lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs * -(-len(train) // _BATCH))
    best, best_score, best_epoch = copy.deepcopy(layers), -1.0, 0
    with terminal.progress("training", options.epochs, "epochs") as advance:
        for epoch in range(1, options.epochs + 1):
            module.train()
            for rows in train[torch.randperm(len(train))].split(_BATCH):
                share, others = float(rng.beta(_MIXUP, _MIXUP)), rows[torch.randperm(len(rows))]
                mixed, mixed_classes = (share * a[rows] + (1 - share) * a[others] for a in (features, wanted))
                logits = _unit(module(mixed)) @ _unit(proxies).T / TEMPERATURE
                loss = torch.nn.functional.cross_entropy(logits, mixed_classes)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
            advance(1)
            if epoch % _EPOCHS_PER_CHECK and epoch != options.epochs:
                continue
            found = _validate(module, features, labelled.labels, parts)
            log.debug("epoch %s: Precision@5 of the validation part %.4f", epoch, found)
            if found > best_score:
                best, best_score, best_epoch = copy.deepcopy(layers), found, epoch
            elif epoch - best_epoch >= _PATIENCE:
                break
    return best, best_epoch


def _validate(module: torch.nn.Module, features: torch.Tensor, labels: Sequence[str], parts: Split) -> float:
    module.eval()
    with torch.inference_mode():
        vectors: Vector = _unit(module(features)).numpy()
    return score(vectors, labels, parts.train, parts.validation).precision_at_k


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(vectors, dim=1)


def _with_input_scale(layers: Sequence[torch.nn.Linear], mean: Vector, spread: float) -> Head:
    """Return the layers as a head of the raw vectors: centring and scaling go into the first of them."""
    matrices = [(layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy().copy()) for layer in layers]
    weight, bias = matrices[0]
    matrices[0] = (weight / spread, bias - mean @ (weight / spread))
    return Head(matrices)
