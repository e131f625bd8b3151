"""Train a head for your own classes on a model's frozen vectors, and write model and head as one file.

The loss is the normalised softmax (Zhai and Wu, "Classification is a Strong Baseline for Deep Metric Learning", 2019):
cosines to one learned proxy per class, divided by a temperature, on mixed pairs of vectors (Zhang et al., "mixup",
2018). The head with the best Precision@5 on the validation part is kept.
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
from torch.nn.functional import cross_entropy, normalize

from cbir import terminal
from cbir.evaluation.embeddings import Labelled
from cbir.evaluation.retrieval import Accuracy, Split, score, split, split_name
from cbir.models.card import Training
from cbir.models.embedder import Embedder
from cbir.records import Vector

from ..convert.head_graph import Head, add_head, apply_head
from ..convert.model_file import graph_vectors, write_with_record
from ..convert.parity import Link, compare_vectors, require, sample_images

log = logging.getLogger(__name__)

TEMPERATURE = 0.2
_BATCH = 512
_MIXUP = 0.4
_EPOCHS_PER_CHECK = 5
_PATIENCE = 15
"""Epochs without improvement after which the training stops."""


@dataclass(frozen=True)
class TrainedHead:
    """A head, its split and epoch, and the accuracy on the test part before and after."""

    head: Head
    parts: Split
    epoch: int
    before: Accuracy
    after: Accuracy


def train_head(
    labelled: Labelled, dimension: int, hidden: int, epochs: int, seed: int, keep: bool = False
) -> TrainedHead:
    """Return a head trained on the training part, with a hidden layer of this width, without one for 0.

    With `keep`, the vectors that it was trained on follow its own.

    The test part is used only once, at the end.
    """
    parts = split(labelled.labels, seed)
    mean = labelled.vectors[parts.train].mean(axis=0)
    spread = float(labelled.vectors[parts.train].std())
    features = torch.from_numpy((labelled.vectors - mean) / spread)
    widths = [features.shape[1], *([hidden] if hidden else []), dimension]
    torch.manual_seed(seed)
    layers = [torch.nn.Linear(a, b) for a, b in pairwise(widths)]
    layers, epoch = _train(layers, features, labelled.labels, parts, epochs, seed)
    head = replace(_with_input_scale(layers, mean, spread), keep=keep)
    before, after = (
        score(vectors, labelled.labels, parts.train, parts.test)
        for vectors in (labelled.vectors, apply_head(head, labelled.vectors))
    )
    return TrainedHead(head, parts, epoch, before, after)


def write_with_head(embedder: Embedder, head: Head, training: Training, path: Path) -> None:
    """Write a model file with a head, its training in the card, and the parity record next to it."""
    model = onnx.load(embedder.path)
    add_head(model, head)
    images = sample_images()
    expected = apply_head(head, Embedder(embedder.path, device="cpu").embed(images.files))
    card = replace(embedder.card, name=path.stem, dimension=head.dimension, to_torch=None, training=training)
    agreement = compare_vectors(expected, graph_vectors(model, card, images.files), images.labels)
    require(agreement, "fp32", "Please report this")
    write_with_record(model, card, path, [Link(f"{embedder.card.name}, then the head", "onnx", agreement)], images)


def describe_training(
    kind: Literal["head", "train"],
    data: str,
    label: str | None,
    labels: Sequence[str],
    parts: Split,
    after: Accuracy,
    seed: int,
) -> Training:
    """Return the record of a training for the model's card."""
    return Training(
        kind=kind,
        data=data,
        label=label or "",
        classes=sorted(set(labels)),
        images=len(parts.train),
        split=split_name(seed),
        metrics=metrics_of(after),
    )


def metrics_of(accuracy: Accuracy) -> dict[str, float]:
    """Return the metrics that a model's card has."""
    return {
        "precision_at_5": round(accuracy.precision_at_k, 4),
        "hit_rate_at_1": round(accuracy.hit_rate_at_1, 4),
        "hit_rate_at_5": round(accuracy.hit_rate_at_k, 4),
        "mrr_at_5": round(accuracy.mrr_at_k, 4),
    }


def _train(
    layers: list[torch.nn.Linear], features: torch.Tensor, labels: Sequence[str], parts: Split, epochs: int, seed: int
) -> tuple[list[torch.nn.Linear], int]:
    """Return the linear layers of the best epoch on the validation part, and that epoch."""
    rng = np.random.default_rng(seed)
    targets = torch.from_numpy(np.unique(labels, return_inverse=True)[1])
    steps: list[torch.nn.Module] = []
    for layer in layers:
        steps += [torch.nn.Dropout(0.3), layer, torch.nn.ReLU()]
    module = torch.nn.Sequential(*steps[:-1])
    classes = int(targets.max()) + 1
    proxies = torch.nn.Parameter(torch.randn(classes, layers[-1].out_features))
    one_hot = torch.nn.functional.one_hot(targets, classes).float()
    train = torch.from_numpy(parts.train)
    optimizer = torch.optim.AdamW([*module.parameters(), proxies], lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(train) // _BATCH))
    best, best_score, best_epoch = copy.deepcopy(layers), -1.0, 0
    with terminal.progress("training", epochs, "epochs") as advance:
        for epoch in range(1, epochs + 1):
            module.train()
            for rows in train[torch.randperm(len(train))].split(_BATCH):
                share, others = float(rng.beta(_MIXUP, _MIXUP)), rows[torch.randperm(len(rows))]
                mixed, mixed_classes = (share * a[rows] + (1 - share) * a[others] for a in (features, one_hot))
                logits = normalize(module(mixed)) @ normalize(proxies).T / TEMPERATURE
                loss = cross_entropy(logits, mixed_classes)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
            advance(1)
            if epoch % _EPOCHS_PER_CHECK and epoch != epochs:
                continue
            module.eval()
            with torch.inference_mode():
                vectors: Vector = normalize(module(features)).numpy()
            precision = score(vectors, labels, parts.train, parts.validation).precision_at_k
            log.debug("epoch %s: validation Precision@5 %.4f", epoch, precision)
            if precision > best_score:
                best, best_score, best_epoch = copy.deepcopy(layers), precision, epoch
            elif epoch - best_epoch >= _PATIENCE:
                break
    return best, best_epoch


def _with_input_scale(layers: Sequence[torch.nn.Linear], mean: Vector, spread: float) -> Head:
    """Return the layers as a head for raw vectors, with centring and scaling folded into the first layer."""
    matrices = [(layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy().copy()) for layer in layers]
    weight, bias = matrices[0]
    matrices[0] = (weight / spread, bias - mean @ (weight / spread))
    return Head(matrices)
