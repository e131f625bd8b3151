"""Proof of an exported file: from image files on, its vectors against those of torch behind timm's own transform."""

from collections.abc import Sequence

import numpy as np
import torch
from timm.data import create_transform

from cbir.errors import CbirError
from cbir.images import MAX_MEGAPIXELS, decode
from cbir.model import Embedder
from cbir.records import Vector
from cbir.sources import SourceOptions, open_source

from .to_onnx import Loaded

MIN_COSINE = 0.9999
PICTURES = 64


def sample_pictures(count: int = PICTURES) -> list[bytes]:
    """Return image files of the packaged sample, spread over its categories."""
    items = list(open_source("sample://openmoji", SourceOptions()).items)
    return [items[at].read() for at in np.linspace(0, len(items) - 1, count).astype(int)]


def torch_vectors(loaded: Loaded, files: Sequence[bytes]) -> Vector:
    """Return the (N, D) unit vectors that torch gives behind timm's evaluation transform."""
    transform = create_transform(**loaded.config, is_training=False)
    pictures = [decode(data) for data in files]
    with torch.inference_mode():
        features = loaded.module(torch.stack([transform(picture) for picture in pictures]))
        vectors: Vector = torch.nn.functional.normalize(features, dim=1).numpy()
    return vectors


def lowest_cosine(embedder: Embedder, loaded: Loaded, files: Sequence[bytes]) -> float:
    """Return the lowest cosine between the file's vectors and torch's over these image files."""
    ours = embedder.embed([embedder.decode(data, MAX_MEGAPIXELS) for data in files])
    return float((ours * torch_vectors(loaded, files)).sum(axis=1).min())


def require_cosine(cosine: float) -> None:
    """Raise `CbirError` if an export differs from torch by more than rounding."""
    if not cosine >= MIN_COSINE:
        raise CbirError(f"the exported model differs from torch: lowest cosine {cosine:.6f}, needed {MIN_COSINE}")
