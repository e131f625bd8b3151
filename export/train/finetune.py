"""Train the last blocks of a backbone, and a head after it, for your own classes.

The loss and the choice of the epoch are those of `head`. In addition, images are flipped and cropped at random.
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
from safetensors.torch import save_file
from torchvision.transforms import v2

from cbir import terminal
from cbir.errors import ImageError, UsageError
from cbir.evaluation.retrieval import Accuracy, Rows, score, split
from cbir.images.decode import decode
from cbir.images.preprocessing import InputRule
from cbir.records import Item, Vector, to_plain
from cbir.settings import MAX_MEGAPIXELS

from ..backbone import Loaded
from ..convert.head_graph import Head
from ..convert.to_onnx import Embedding
from ..weights import Weights, sha256_of
from .head import TEMPERATURE, Trained

log = logging.getLogger(__name__)

_BLOCK = re.compile(r"(?:blocks|stages|layers|features|resblocks)\.\d+|(?:layer|stage)s?_?\d+")
_INDEXED = 4096
"""The most images of the training part that are indexed to check an epoch, so that the check is short."""


@dataclass(frozen=True)
class FinetuneOptions:
    """How to finetune.

    Attributes:
        blocks: How many of the backbone's last blocks are trained; the rest stays as it is.
        dimension: Length of the vectors.
        epochs: At most; the one with the best Precision@5 of the validation part is kept.
        batch_size: Images at once.
        learning_rate: Of AdamW for the blocks; the head learns ten times as fast.
        seed: Of the split, the initial weights, the order and the random crops.
        device: Torch's name of it; None is a GPU if there is one.
        workers: Processes that read and crop images.
        max_megapixels: The most that an image may have.
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


@dataclass(frozen=True)
class Finetuned:
    """The trained head with its metrics, and the mean loss of each epoch."""

    trained: Trained
    losses: list[float]


class _Images(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):  # type: ignore[misc]
    """Images as uint8 planes (3, size, size) with their class numbers, flipped and cropped at random if `augment`."""

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


class _Net(Embedding):
    """Backbone, L2 norm, head, L2 norm; in evaluation mode throughout, so that the batch norms stay as published."""

    def __init__(self, loaded: Loaded, dimension: int):
        super().__init__(loaded)
        self.head = torch.nn.Linear(loaded.dimension, dimension)
        self.eval()

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """Return the head's unit vectors for uint8 (N, 3, H, W)."""
        return torch.nn.functional.normalize(self.head(self.features(planes)), dim=1)


def finetune(loaded: Loaded, items: Sequence[Item], options: FinetuneOptions) -> Finetuned:
    """Train the last blocks of `loaded` in place, and return the head that goes after it.

    Raises:
        UsageError: The backbone has fewer blocks, there are too few images or classes, or there is no such device.
        ImageError: An image cannot be decoded.
    """
    items = _decodable(items, options.max_megapixels)
    labels = np.array([str(item.label) for item in items])
    classes, targets = np.unique(labels, return_inverse=True)
    parts = split(labels.tolist(), options.seed)
    blocks = last_blocks(loaded.module, options.blocks)
    device = _device(options.device)
    torch.manual_seed(options.seed)
    net = _Net(loaded, options.dimension).to(device)
    proxies = torch.nn.Parameter(torch.randn(len(classes), options.dimension, device=device))

    def loader(rows: Rows, augment: bool) -> Any:
        chosen = [items[row] for row in rows]
        images = _Images(chosen, targets[rows].tolist(), loaded.rule, augment, options.max_megapixels)
        return torch.utils.data.DataLoader(images, options.batch_size, shuffle=augment, num_workers=options.workers)

    def rate(embed: Callable[[torch.Tensor], torch.Tensor], indexed: Rows, queries: Rows) -> Accuracy:
        vectors = [_vectors(embed, loader(rows, False), device, len(rows)) for rows in (indexed, queries)]
        numbers = np.arange(len(indexed) + len(queries))
        both = labels[np.concatenate([indexed, queries])].tolist()
        return score(np.concatenate(vectors), both, numbers[: len(indexed)], numbers[len(indexed) :])

    before = rate(net.features, parts.train, parts.test)
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
        spent = []
        with terminal.progress(f"epoch {epoch} of {options.epochs}", len(parts.train)) as advance:
            for planes, wanted in loader(parts.train, True):
                logits = net(planes.to(device)) @ torch.nn.functional.normalize(proxies, dim=1).T / TEMPERATURE
                loss = torch.nn.functional.cross_entropy(logits, wanted.to(device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                spent.append(loss.item())
                advance(len(planes))
        losses.append(float(np.mean(spent)))
        precision = rate(net, parts.train[:_INDEXED], parts.validation).precision_at_k
        log.info("epoch %s: mean loss %.4f, Precision@5 of the validation part %.4f", epoch, losses[-1], precision)
        if precision > best_score:
            best, best_score, best_epoch = copy.deepcopy(net.state_dict()), precision, epoch
    net.load_state_dict(best)
    after = rate(net, parts.train, parts.test)
    net.to("cpu").requires_grad_(False)
    head = Head([(net.head.weight.numpy().T.copy(), net.head.bias.numpy().copy())])
    return Finetuned(Trained(head, parts, best_epoch, before, after), losses)


def save_weights(loaded: Loaded, path: Path) -> Loaded:
    """Write the backbone's tensors as `.safetensors`, and return it as loaded from there."""
    state = {name: tensor.contiguous() for name, tensor in loaded.module.state_dict().items()}
    draft = path.with_name(path.name + ".tmp")
    save_file(state, draft)
    draft.replace(path)
    weights = Weights(f"file:{path.name}", sha256_of(path), state, random=loaded.weights.random)
    return replace(loaded, weights=weights)


def last_blocks(module: torch.nn.Module, count: int) -> list[torch.nn.Parameter]:
    """Return the parameters of the last `count` blocks, and make them alone trainable.

    The parameters of a block share the start of their name up to its number (`blocks.6`, `layers.3`, `layer4`); what
    comes after the last block belongs to it.

    Raises:
        UsageError: There are fewer.
    """
    parameters = dict(module.named_parameters())
    matches = map(_BLOCK.match, parameters)
    blocks = list(dict.fromkeys(match.group() for match in matches if match))
    if count > len(blocks):
        raise UsageError(f"--blocks {count}: the backbone has {len(blocks)}: {', '.join(blocks)}")
    names = list(parameters)
    first = next(i for i, name in enumerate(names) if name.startswith(f"{blocks[-count]}."))
    module.requires_grad_(False)
    chosen = [parameters[name] for name in names[first:]]
    for parameter in chosen:
        parameter.requires_grad_(True)
    return chosen


def _decodable(items: Sequence[Item], max_megapixels: float) -> list[Item]:
    """Return the items that can be decoded; a damaged image should not stop the training after hours."""
    kept = []
    with terminal.progress("checking", len(items)) as advance:
        for item in items:
            try:
                decode(item.read(), 64, max_megapixels)
                kept.append(item)
            except (ImageError, OSError) as error:
                log.warning("%s is left out: %s", to_plain(item.key), error)
            advance(1)
    if not kept:
        raise UsageError(f"none of the {len(items)} images can be used")
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
