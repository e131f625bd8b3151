"""Train the last blocks of a backbone and a head for your own classes.

The loss and the choice of the epoch are those of `head`. Images are flipped and cropped at random.
"""

import copy
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch.nn.functional import cross_entropy, normalize
from torchvision.transforms import v2

from cbir import terminal
from cbir.errors import ImageError, UsageError
from cbir.evaluation.retrieval import Accuracy, Rows, score, split
from cbir.images.decode import decode
from cbir.images.preprocessing import InputRule
from cbir.index.files import write_atomically
from cbir.records import Item, Vector, to_plain
from cbir.settings import MAX_MEGAPIXELS

from ..backbone import Loaded
from ..convert.head_graph import Head
from ..convert.to_onnx import Embedding
from ..weights import Weights, sha256_of
from .head import TEMPERATURE, TrainedHead

log = logging.getLogger(__name__)

_BLOCK = re.compile(r"(?:blocks|stages|layers|features|resblocks)\.\d+|(?:layer|stage)s?_?\d+")
_INDEXED = 4096
"""Number of training images that are indexed to validate an epoch. It keeps the validation short."""


@dataclass(frozen=True)
class FinetuneOptions:
    """The options of `cbir-export finetune`, and the maximum size of an image.

    The epoch with the best Precision@5 on the validation part is kept. The head's learning rate is ten times as high.
    """

    blocks: int = 2
    dimension: int = 256
    epochs: int = 5
    batch_size: int = 32
    learning_rate: float = 1e-4
    seed: int = 42
    device: str | None = None
    workers: int = 0
    max_megapixels: float = MAX_MEGAPIXELS


class _Images(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):  # type: ignore[misc]
    """Images as uint8 planes (3, size, size) and class numbers. `augment` flips and crops them at random."""

    def __init__(
        self, items: Sequence[Item], targets: Sequence[int], rule: InputRule, augment: bool, max_megapixels: float
    ):
        self._items, self._targets, self._rule, self._max_megapixels = items, targets, rule, max_megapixels
        flip = v2.RandomHorizontalFlip()
        crop = v2.RandomResizedCrop(rule.size, scale=(0.6, 1.0), ratio=(0.8, 1.25), antialias=True)
        self._augment = v2.Compose([flip, crop]) if augment else None

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        image = decode(self._items[row].read(), 2 * self._rule.resize, self._max_megapixels)
        planes = torch.from_numpy(self._rule.pixels(image).copy()).permute(2, 0, 1)
        return (self._augment(planes) if self._augment else planes), self._targets[row]


class _HeadedBackbone(Embedding):
    """Backbone, L2 norm, head, L2 norm. Always in evaluation mode, so the batch norms keep their published values."""

    def __init__(self, loaded: Loaded, dimension: int):
        super().__init__(loaded)
        self.head = torch.nn.Linear(loaded.dimension, dimension)
        self.eval()

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """Return unit vectors for uint8 planes (N, 3, H, W)."""
        return normalize(self.head(self.features(planes)))


def finetune(loaded: Loaded, items: Sequence[Item], options: FinetuneOptions) -> TrainedHead:
    """Train the last blocks of `loaded` in place, and return the head trained with them."""
    items = _decodable(items, options.max_megapixels)
    labels = np.array([str(item.label) for item in items])
    classes, targets = np.unique(labels, return_inverse=True)
    parts = split(labels.tolist(), options.seed)
    blocks = last_blocks(loaded.module, options.blocks)
    device = _device(options.device)
    torch.manual_seed(options.seed)
    net = _HeadedBackbone(loaded, options.dimension).to(device)
    proxies = torch.nn.Parameter(torch.randn(len(classes), options.dimension, device=device))

    def loader(rows: Rows, augment: bool) -> Any:
        chosen = [items[row] for row in rows]
        images = _Images(chosen, targets[rows].tolist(), loaded.rule, augment, options.max_megapixels)
        return torch.utils.data.DataLoader(images, options.batch_size, shuffle=augment, num_workers=options.workers)

    def evaluate(embed: Callable[[torch.Tensor], torch.Tensor], indexed: Rows, queries: Rows) -> Accuracy:
        vectors = [_vectors(embed, loader(rows, False), device, len(rows)) for rows in (indexed, queries)]
        numbers = np.arange(len(indexed) + len(queries))
        both = labels[np.concatenate([indexed, queries])].tolist()
        return score(np.concatenate(vectors), both, numbers[: len(indexed)], numbers[len(indexed) :])

    before = evaluate(net.features, parts.train, parts.test)
    optimizer = torch.optim.AdamW(
        [
            {"params": blocks, "lr": options.learning_rate},
            {"params": [*net.head.parameters(), proxies], "lr": 10 * options.learning_rate},
        ],
        weight_decay=1e-2,
    )
    steps = options.epochs * -(-len(parts.train) // options.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best, best_score, best_epoch = copy.deepcopy(net.state_dict()), -1.0, 0
    losses: list[float] = []
    for epoch in range(1, options.epochs + 1):
        batch_losses = []
        with terminal.progress(f"epoch {epoch} of {options.epochs}", len(parts.train)) as advance:
            for planes, classes_of_batch in loader(parts.train, True):
                logits = net(planes.to(device)) @ normalize(proxies).T / TEMPERATURE
                loss = cross_entropy(logits, classes_of_batch.to(device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                batch_losses.append(loss.item())
                advance(len(planes))
        losses.append(float(np.mean(batch_losses)))
        precision = evaluate(net, parts.train[:_INDEXED], parts.validation).precision_at_k
        log.info("epoch %s: mean loss %.4f, validation Precision@5 %.4f", epoch, losses[-1], precision)
        if precision > best_score:
            best, best_score, best_epoch = copy.deepcopy(net.state_dict()), precision, epoch
    net.load_state_dict(best)
    after = evaluate(net, parts.train, parts.test)
    net.to("cpu").requires_grad_(False)
    head = Head([(net.head.weight.numpy().T.copy(), net.head.bias.numpy().copy())])
    return TrainedHead(head, parts, best_epoch, before, after, losses)


def save_weights(loaded: Loaded, path: Path) -> Loaded:
    """Write the backbone's tensors as `.safetensors`, and return the backbone as loaded from that file."""
    state = {name: tensor.contiguous() for name, tensor in loaded.module.state_dict().items()}
    write_atomically(path, save(state))
    weights = Weights(f"file:{path.name}", sha256_of(path), state, random=loaded.weights.random)
    return replace(loaded, weights=weights)


def last_blocks(module: torch.nn.Module, count: int) -> list[torch.nn.Parameter]:
    """Make only the last `count` blocks trainable, and return their parameters.

    The names of a block's parameters begin with its number (`blocks.6`, `layers.3`, `layer4`). Layers after the last
    block count as part of it.
    """
    parameters = dict(module.named_parameters())
    matches = map(_BLOCK.match, parameters)
    blocks = list(dict.fromkeys(match.group() for match in matches if match))
    if count > len(blocks):
        raise UsageError(f"--blocks {count}: the backbone has only {len(blocks)} blocks: {', '.join(blocks)}")
    names = list(parameters)
    first = next(i for i, name in enumerate(names) if name.startswith(f"{blocks[-count]}."))
    module.requires_grad_(False)
    chosen = [parameters[name] for name in names[first:]]
    for parameter in chosen:
        parameter.requires_grad_(True)
    return chosen


def _decodable(items: Sequence[Item], max_megapixels: float) -> list[Item]:
    """Return the items that can be decoded, so that a damaged image does not stop the training after hours."""
    kept = []
    with terminal.progress("checking", len(items)) as advance:
        for item in items:
            try:
                decode(item.read(), 64, max_megapixels)
                kept.append(item)
            except (ImageError, OSError) as error:
                log.warning("skipped %s: %s", to_plain(item.key), error)
            advance(1)
    if not kept:
        raise UsageError(f"None of the {len(items)} images can be decoded")
    return kept


def _vectors(embed: Callable[[torch.Tensor], torch.Tensor], images: Any, device: torch.device, count: int) -> Vector:
    batches = []
    with torch.inference_mode(), terminal.progress("embedding", count) as advance:
        for planes, _ in images:
            batches.append(embed(planes.to(device)).cpu().numpy())
            advance(len(planes))
    return np.concatenate(batches)


def _device(name: str | None) -> torch.device:
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.zeros(1, device=device)
    except Exception as error:  # each backend raises its own error for a missing device
        raise UsageError(f"--device {name}: {str(error).splitlines()[0]}") from None
    return device
