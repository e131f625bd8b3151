"""Verify a model file: its checksum, its card, its weights, and its vectors beside those of torch."""

from pathlib import Path

import onnx

from cbir.errors import CbirError, UsageError
from cbir.models.card import Agreement, ModelCard
from cbir.models.embedder import Embedder

from ..backbone import Loaded, load_backbone, torch_vectors
from ..convert.head_graph import apply_head, read_head
from ..convert.parity import LIMITS, agree, file_vectors, require, sample_images, shortfall
from ..zoo import BACKBONES, TIMM_PREFIX, InputChoice, find_backbone


def verify_model(path: Path, weights: str | None) -> tuple[ModelCard, Agreement]:
    """Return a model file's card and how its vectors agree with torch's, on 64 images of the sample.

    Args:
        path: The file.
        weights: Where its weights are; None is the origin that its card names.

    Raises:
        UsageError: It is not a model file, or its weights cannot be had.
        CbirError: It is damaged, is not what its card says, or differs from torch.
    """
    embedder = Embedder(path, provider="cpu")
    card = embedder.card
    loaded = _in_torch(path, card, weights)
    images = sample_images(64)
    expected = torch_vectors(loaded, images.files)
    head = read_head(onnx.load(path))
    if head is not None:
        expected = apply_head(head, expected)
    agreement = agree(expected, file_vectors(embedder, images.files), images.labels)
    forced = card.to_torch is not None and shortfall(card.to_torch, LIMITS[card.precision])
    why = "its card says so, it was forced" if forced else f"{path} is not the {card.backbone} that it says it is"
    require(agreement, card.precision, why)
    return card, agreement


def _in_torch(path: Path, card: ModelCard, weights: str | None) -> Loaded:
    """Return the backbone that a card names, after checking the card against it."""
    name = card.backbone or card.name
    backbone = find_backbone(name if name in BACKBONES else TIMM_PREFIX + name.removeprefix(TIMM_PREFIX))
    origin = card.weights.partition(":")[0]
    kept = {"pypi": "pypi", "hub": "hub", "torchvision": "hub", "random": "random"}.get(origin)
    if weights is None and kept is None:
        raise UsageError(
            f"{path}: its seal and its card hold; to compare it with torch, give --weights and the file that it was"
            f" made of, {card.weights} (SHA-256 {card.weights_sha256})"
        )
    loaded = load_backbone(backbone, weights or kept, InputChoice(None, card.input.size))
    if loaded.rule != card.input:  # not as published
        loaded = load_backbone(backbone, weights or kept, InputChoice(card.input.crop, card.input.size))
    if loaded.weights.sha256 != card.weights_sha256:
        raise CbirError(
            f"{path} was made of weights with SHA-256 {card.weights_sha256 or 'none'}, those of"
            f" {loaded.weights.origin} have {loaded.weights.sha256 or 'none'}"
        )
    claims = {
        "input rule": (card.input, loaded.rule),
        "mean": (card.mean, tuple(loaded.config["mean"])),
        "deviation": (card.std, tuple(loaded.config["std"])),
    }
    for name, (claimed, actual) in claims.items():
        if claimed != actual:
            raise CbirError(f"{path}: its {name} is {claimed}, that of {backbone.name} is {actual}")
    return loaded
