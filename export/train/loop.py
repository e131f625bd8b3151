"""The training of a network: steps, validation, early stopping and checkpoints.

All random numbers of a step come from the seed and the number of the step. So a training that continues from a
checkpoint has the same losses as one that was never interrupted.
"""

import copy
import logging
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from torch.nn.functional import normalize

from cbir import terminal
from cbir.errors import CbirError
from cbir.evaluation.retrieval import Accuracy, Rows, Split, split

from ..backbone import Loaded
from ..convert.head_graph import Head, add_head
from ..convert.to_onnx import export
from .accuracy import Embed, embed_with_graph, embed_with_network, measure
from .augment import AUGMENTATIONS, augment
from .checkpoint import Position, Tensors, load_checkpoint, save_checkpoint
from .images import TrainingImages
from .losses import LOSSES
from .network import Network, update_average
from .recipe import SCRATCH, Recipe
from .schedule import batches_of, learning_rate_factor, seed_of

log = logging.getLogger(__name__)

SECONDS_PER_CHECKPOINT = 30.0
_INDEXED = 4096
"""Number of training images that are indexed to validate an epoch. It keeps the validation short."""


@dataclass(frozen=True)
class Trained:
    """A head, its split, the position at the end, and the accuracy on the test part. The backbone is in place."""

    head: Head
    parts: Split
    position: Position
    after: Accuracy


@contextmanager
def _deterministic() -> Iterator[None]:
    """Let torch choose algorithms that give the same numbers in every run, where it has them."""
    before = torch.are_deterministic_algorithms_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it, cuBLAS is not deterministic
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*does not have a deterministic implementation")
            yield
    finally:
        torch.use_deterministic_algorithms(before)


@_deterministic()
def train(
    loaded: Loaded, plain: onnx.ModelProto, images: TrainingImages, recipe: Recipe, folder: Path, device: torch.device
) -> Trained:
    """Train `loaded` in place and return the head trained with it, both of the epoch with the best validation P@5.

    `plain` is the graph of `loaded` before the training. A checkpoint in `folder` is continued. The test part chooses
    nothing: it is measured before a training of given weights, and after every training.

    Raises:
        CbirError: The loss is not a number.
    """
    classes, targets = np.unique(images.labels, return_inverse=True)
    parts = split(images.labels, recipe.seed)
    torch.manual_seed(recipe.seed)
    network = Network(loaded, recipe.dimension, len(classes), recipe.blocks).to(device)
    network.embedding.to(memory_format=torch.channels_last)
    average = copy.deepcopy(network).eval().requires_grad_(False)
    optimizer = _optimizer(network, recipe)
    best = copy.deepcopy(average.state_dict())
    state = _State(network, average, optimizer, recipe, images, torch.from_numpy(targets), device, best, Position())
    on_processor = device.type == "cpu"
    if not _restore(state, folder) and recipe.weights != SCRATCH:
        features = network.eval().embedding.features
        embed = embed_with_graph(plain) if on_processor else embed_with_network(features, device)
        state.position.before = _tested(state, parts, embed)
        _save(state, folder)
    _run(state, parts, folder)
    _save(state, folder)  # if the file cannot be written, another run does not train again
    network.load_state_dict(state.best)
    network.eval().requires_grad_(False)
    if not on_processor:
        after = _tested(state, parts, embed_with_network(network, device))
    network.to("cpu", memory_format=torch.contiguous_format)
    head = network.folded_head()
    if on_processor:
        graph = export(loaded)
        add_head(graph, head)
        after = _tested(state, parts, embed_with_graph(graph))
    return Trained(head, parts, state.position, after)


@dataclass
class _State:
    """A training under way: its networks, what they learn from, and how far they are."""

    network: Network
    average: Network
    optimizer: torch.optim.Optimizer
    recipe: Recipe
    images: TrainingImages
    targets: torch.Tensor
    device: torch.device
    best: dict[str, torch.Tensor]
    position: Position


def _tested(state: _State, parts: Split, embed: Embed) -> Accuracy:
    return measure(state.images, state.recipe.size, embed, parts.train, parts.test)


def _save(state: _State, folder: Path) -> None:
    tensors: Tensors = {
        "network": state.network.state_dict(),
        "average": state.average.state_dict(),
        "best": state.best,
        "optimizer": state.optimizer.state_dict(),
    }
    save_checkpoint(folder, tensors, state.position)


def _save_if_due(state: _State, folder: Path, saved: float) -> float:
    """Save a training if it was last saved long ago, and return when it was saved."""
    if time.monotonic() - saved < SECONDS_PER_CHECKPOINT:
        return saved
    _save(state, folder)
    return time.monotonic()


def _restore(state: _State, folder: Path) -> bool:
    """Continue with the checkpoint in a folder; False if there is none."""
    found = load_checkpoint(folder, state.device)
    if found is None:
        return False
    tensors, state.position = found
    state.network.load_state_dict(tensors["network"])
    state.average.load_state_dict(tensors["average"])
    state.optimizer.load_state_dict(tensors["optimizer"])
    state.best = tensors["best"]
    log.info("continuing after %s epochs, at step %s", len(state.position.losses), f"{state.position.step:,}")
    return True


def _run(state: _State, parts: Split, folder: Path) -> None:
    """Train until the last epoch, or until the validation no longer improves."""
    recipe, position, images = state.recipe, state.position, state.images
    embed = embed_with_network(state.average, state.device)
    pairs = LOSSES[recipe.loss].pairs
    per_epoch = len(batches_of(parts.train, state.targets.numpy(), recipe, pairs, 0))
    saved = time.monotonic()
    while len(position.losses) < recipe.epochs and len(position.losses) - position.best_epoch < recipe.patience:
        epoch = len(position.losses)
        batches = batches_of(parts.train, state.targets.numpy(), recipe, pairs, epoch)
        done = position.step - epoch * per_epoch
        title, started = f"epoch {epoch + 1} of {recipe.epochs}", time.monotonic()
        count, already = sum(map(len, batches)), sum(map(len, batches[:done]))
        with terminal.progress(title, count, done=already) as advance:
            for rows in batches[done:]:
                position.batch_losses.append(_step(state, rows, per_epoch * recipe.epochs))
                position.step += 1
                advance(len(rows))
                saved = _save_if_due(state, folder, saved)
        seconds = time.monotonic() - started
        found = measure(images, recipe.size, embed, parts.train[:_INDEXED], parts.validation)
        position.losses.append(float(np.mean(position.batch_losses)))
        position.learning_rates.append(state.optimizer.param_groups[0]["lr"])
        position.precisions.append(found.precision_at_k)
        position.batch_losses = []
        if position.best is None or found.precision_at_k > position.best.precision_at_k:
            position.best, position.best_epoch = found, epoch + 1
            state.best = copy.deepcopy(state.average.state_dict())
        saved = _save_if_due(state, folder, saved)
        log.info(
            "%s: loss %.4f, validation P@5 %.4f (best: %.4f, epoch %s), %s images/s",
            title,
            position.losses[-1],
            found.precision_at_k,
            max(position.precisions),
            position.best_epoch,
            f"{(count - already) / max(seconds, 1e-9):,.0f}",
        )


def _step(state: _State, rows: Rows, steps: int) -> float:
    """Take one step with a batch, and return its loss."""
    recipe, step = state.recipe, state.position.step
    factor = learning_rate_factor(step, steps, recipe.warm_up)
    for group in state.optimizer.param_groups:
        group["lr"] = group["highest"] * factor
    seed = seed_of(recipe.seed, step)
    torch.manual_seed(seed)  # of what the network draws, such as dropout
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.from_numpy(state.images.pixels[np.sort(rows)]).to(state.device)
    targets = state.targets[np.sort(rows)].to(state.device)
    planes = augment(pixels, recipe.size, AUGMENTATIONS[recipe.augmentation], generator)
    state.network.train()
    with torch.autocast(state.device.type, torch.bfloat16, enabled=recipe.bf16):
        vectors = state.network(planes)
    loss = LOSSES[recipe.loss].function(vectors, targets, normalize(state.network.proxies))
    state.optimizer.zero_grad()
    loss.backward()
    state.optimizer.step()
    update_average(state.average, state.network, recipe.ema_decay, step)
    value = float(loss.item())
    if not np.isfinite(value):
        raise CbirError(f"The loss is {value} in step {step + 1:,}. Use a lower --learning-rate, and --restart")
    return value


def _optimizer(network: Network, recipe: Recipe) -> torch.optim.Optimizer:
    """Return AdamW: the head learns at its own rate, and only matrices and filters decay."""
    groups = []
    backbone = list(network.embedding.parameters())
    own = [*network.head.parameters(), network.proxies]
    for parameters, rate in ((backbone, recipe.learning_rate), (own, recipe.head_learning_rate)):
        for decays in (True, False):
            chosen = [tensor for tensor in parameters if tensor.requires_grad and (tensor.ndim > 1) == decays]
            decay = recipe.weight_decay if decays else 0.0
            groups.append({"params": chosen, "lr": rate, "highest": rate, "weight_decay": decay})
    return torch.optim.AdamW([group for group in groups if group["params"]], fused=True)
