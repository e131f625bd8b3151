"""Train a head for one's own classes on a model's frozen vectors, and write model and head as one file.

The loss is the normalised softmax (Zhai and Wu, "Classification is a Strong Baseline for Deep Metric Learning", 2019):
cosines to one learned proxy a class, divided by a temperature; on mixed pairs of vectors (Zhang et al., "mixup", 2018).
What is kept is the head with the best Precision@5 of the validation part in an index of the training part, which is
what a search will do with it.
"""

import copy
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import torch

from cbir import terminal
from cbir.errors import UsageError
from cbir.evaluation.embeddings import Labelled
from cbir.evaluation.retrieval import Accuracy, Split, score, split, split_name
from cbir.models.sealed import Embedder, Training
from cbir.records import Vector

from ..check.parity import Link, Record, agree, file_vectors, require, sample_pictures
from ..convert.build import drafted, keep_record
from ..convert.head_graph import Head, add_head, apply_head, read_head
from ..convert.to_onnx import write

log = logging.getLogger(__name__)

TEMPERATURE = 0.2
_BATCH = 512
_MIXUP = 0.4
_EPOCHS_A_CHECK = 5


@dataclass(frozen=True)
class HeadOptions:
    """How to train a head.

    Attributes:
        dimension: Length of its vectors.
        hidden: Width of the hidden layer, with ReLU; 0 is none, a linear projection.
        epochs: At most.
        patience: Checks of the validation part, one every five epochs, without a better one after which it stops.
        learning_rate: Of AdamW, falling to 0 as a cosine.
        weight_decay: Of AdamW.
        dropout: Share of each layer's input left out in training.
        seed: Of the split, the initial weights, the order and the pairs.
    """

    dimension: int = 256
    hidden: int = 512
    epochs: int = 30
    patience: int = 3
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    dropout: float = 0.3
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
    """Return a head trained on the training part; the test part is asked for once, at the end.

    Raises:
        UsageError: There are fewer than two classes, or too few pictures to split them.
    """
    _, targets = np.unique(labelled.labels, return_inverse=True)
    parts = split(labelled.labels, options.seed)
    mean = labelled.vectors[parts.train].mean(axis=0)
    spread = float(labelled.vectors[parts.train].std())
    features = torch.from_numpy((labelled.vectors - mean) / spread)
    layers, epoch = _train(features, torch.from_numpy(targets), labelled, parts, options)
    head = _with_input_scale(layers, mean, spread)
    projected = replace(labelled, vectors=apply_head(head, labelled.vectors))
    before, after = (score(one.vectors, one.labels, parts.train, parts.test) for one in (labelled, projected))
    return Trained(head, parts, epoch, before, after)


def write_with_head(embedder: Embedder, trained: Trained, training: Training, path: Path) -> Record:
    """Write a model file with a head after it, on what that was trained in its card, and the record beside it.

    Raises:
        UsageError: The model has a head already.
        CbirError: The file's vectors are not those of the head in torch.
    """
    model = onnx.load(embedder.path)
    add_head(model, trained.head)
    pictures = sample_pictures()
    plain = Embedder(embedder.path, provider="cpu")
    expected = apply_head(trained.head, file_vectors(plain, pictures.files))
    card = replace(embedder.card, name=path.stem, dimension=trained.head.dimension, to_torch=None, training=training)
    with drafted(model, card) as draft:
        agreement = agree(expected, file_vectors(Embedder(draft, provider="cpu"), pictures.files), pictures.labels)
    require(agreement, "fp32", "please report it")
    sealed = write(model, replace(card, to_torch=agreement), path)
    return keep_record(path, card, sealed, pictures, [Link(f"{embedder.card.name}, then the head", "onnx", agreement)])


def refuse_second_head(path: Path) -> None:
    """Raise `UsageError` if a model file has a trained head."""
    if read_head(onnx.load(path)) is not None:
        raise UsageError(f"{path} has a trained head already; train one on the model without it")


def training_of(
    kind: Literal["head", "finetune"], data: str, label: str | None, labels: Sequence[str], trained: Trained, seed: int
) -> Training:
    """Return what a model's card says of its training."""
    after = trained.after
    return Training(
        kind=kind,
        data=data,
        label=label or "",
        classes=sorted(set(labels)),
        pictures=len(trained.parts.train),
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
    """Return the best check's linear layers, and its epoch."""
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    widths = [features.shape[1], *([options.hidden] if options.hidden else []), options.dimension]
    layers = [torch.nn.Linear(a, b) for a, b in pairwise(widths)]
    steps: list[torch.nn.Module] = []
    for layer in layers:
        steps += [torch.nn.Dropout(options.dropout), layer, torch.nn.ReLU()]
    module = torch.nn.Sequential(*steps[:-1])
    classes = int(targets.max()) + 1
    proxies = torch.nn.Parameter(torch.randn(classes, options.dimension))
    wanted = torch.nn.functional.one_hot(targets, classes).float()
    train = torch.from_numpy(parts.train)
    optimizer = torch.optim.AdamW(
        [*module.parameters(), proxies], lr=options.learning_rate, weight_decay=options.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs * -(-len(train) // _BATCH))
    best, best_score, best_epoch = copy.deepcopy(layers), -1.0, 0
    with terminal.progress("training", options.epochs, "epochs") as advance:
        for epoch in range(1, options.epochs + 1):
            module.train()
            for rows in _batches(train):
                share, others = float(rng.beta(_MIXUP, _MIXUP)), rows[torch.randperm(len(rows))]
                mixed, classes_mixed = (share * one[rows] + (1 - share) * one[others] for one in (features, wanted))
                logits = _unit(module(mixed)) @ _unit(proxies).T / TEMPERATURE
                loss = torch.nn.functional.cross_entropy(logits, classes_mixed)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
            advance(1)
            if epoch % _EPOCHS_A_CHECK and epoch != options.epochs:
                continue
            found = _validate(module, features, labelled.labels, parts)
            log.debug("epoch %s: Precision@5 of the validation part %.4f", epoch, found)
            if found > best_score:
                best, best_score, best_epoch = copy.deepcopy(layers), found, epoch
            elif epoch - best_epoch >= options.patience * _EPOCHS_A_CHECK:
                break
    return best, best_epoch


def _validate(module: torch.nn.Module, features: torch.Tensor, labels: Sequence[str], parts: Split) -> float:
    module.eval()
    with torch.inference_mode():
        vectors: Vector = _unit(module(features)).numpy()
    return score(vectors, labels, parts.train, parts.validation).precision_at_k


def _batches(rows: torch.Tensor) -> Iterator[torch.Tensor]:
    order = rows[torch.randperm(len(rows))]
    return iter(order.split(_BATCH))


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(vectors, dim=1)


def _with_input_scale(layers: Sequence[torch.nn.Linear], mean: Vector, spread: float) -> Head:
    """Return the layers as a head of the raw vectors: centring and scaling go into the first of them."""
    found = [(one.weight.detach().numpy().T.copy(), one.bias.detach().numpy().copy()) for one in layers]
    weight, bias = found[0]
    found[0] = (weight / spread, bias - mean @ (weight / spread))
    return Head(found)
