"""Verify a model file: checksum, card, weights, and its vectors against torch."""

from pathlib import Path

import onnx

from cbir.errors import CbirError, UsageError
from cbir.models.card import Agreement, ModelCard
from cbir.models.embedder import Embedder

from ..backbone import Loaded, load_backbone, torch_vectors
from ..convert.head_graph import apply_head, read_head
from ..convert.join import JOINED
from ..convert.parity import compare_vectors, require, sample_images, shortfall
from ..zoo import BACKBONES, TIMM_PREFIX, InputChoice, find_backbone


def verify_model(path: Path, weights: str | None) -> tuple[ModelCard, Agreement]:
    """Return a model file's card and the agreement of its vectors with torch's, on 64 images of the sample.

    Raise `CbirError` if it differs from its card or from torch. Without `weights`, those named in the card are used.
    """
    embedder = Embedder(path, device="cpu")
    card = embedder.card
    head = read_head(onnx.load(path))
    if card.training is not None and head is None:
        raise UsageError(
            f"{path}: checksum and card are right. Its head is in int8, so compare it with the file that it was made"
            f" from: cbir-export compare FILE {path}"
        )
    loaded = _in_torch(path, card, weights)
    images = sample_images(64)
    expected = torch_vectors(loaded, images.files)
    if head is not None:
        expected = apply_head(head, expected)
    agreement = compare_vectors(expected, embedder.embed(images.files), images.labels)
    forced = card.to_torch is not None and shortfall(card.to_torch, card.precision)
    reason = "The card records that it was built with --force" if forced else f"{path} is not a {card.backbone}"
    require(agreement, card.precision, reason)
    return card, agreement


def _in_torch(path: Path, card: ModelCard, weights: str | None) -> Loaded:
    """Return the backbone named in a card, after comparing the card with it."""
    name = card.backbone or card.name
    if JOINED in card.backbone:
        raise UsageError(
            f"{path}: checksum and card are right. It joins several files: compare each of them with torch"
        )
    backbone = find_backbone(name if name in BACKBONES else TIMM_PREFIX + name.removeprefix(TIMM_PREFIX))
    kind = card.weights.partition(":")[0]
    origin = {"pypi": "pypi", "hub": "hub", "torchvision": "hub", "random": "random"}.get(kind)
    if weights is None and origin is None:
        raise UsageError(
            f"{path}: checksum and card are right. To compare it with torch, pass --weights with the file it was made"
            f" from, {card.weights} (SHA-256 {card.weights_sha256})"
        )
    loaded = load_backbone(backbone, weights or origin, InputChoice(None, card.input.size))
    if loaded.rule != card.input:  # the crop was chosen by the user
        loaded = load_backbone(backbone, weights or origin, InputChoice(card.input.crop, card.input.size))
    if loaded.weights.sha256 != card.weights_sha256:
        raise CbirError(
            f"{path} was made from weights with SHA-256 {card.weights_sha256 or 'none'}, but"
            f" {loaded.weights.origin} has {loaded.weights.sha256 or 'none'}. Pass the right file with --weights"
        )
    claims = {
        "input rule": (card.input, loaded.rule),
        "mean": (card.mean, tuple(loaded.config["mean"])),
        "deviation": (card.std, tuple(loaded.config["std"])),
    }
    for name, (claimed, actual) in claims.items():
        if claimed != actual:
            raise CbirError(
                f"{path}: the {name} in its card is {claimed}, but {backbone.name} has {actual}. Build it again"
            )
    return loaded
