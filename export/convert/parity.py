"""Compare a model file with torch: from image files on, its vectors against those behind timm's own transform.

The chain torch, ONNX fp32 and, where that is what is built, ONNX fp16 or int8 is measured link by link, and kept
beside the model file.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import TypeAdapter

from cbir.errors import CbirError, ImageError, UsageError
from cbir.evaluation.retrieval import accuracy, neighbours
from cbir.images.decode import decode
from cbir.models.card import Agreement, Precision
from cbir.models.embedder import Embedder
from cbir.records import Item, Vector, to_plain
from cbir.settings import MAX_MEGAPIXELS
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source

log = logging.getLogger(__name__)

SAMPLE = "sample://openmoji"
NEIGHBOURS = 10
_BATCH = 16


@dataclass(frozen=True)
class Limits:
    """What a file must reach to be written; None is not checked."""

    cosine_min: float | None = None
    cosine_p50: float | None = None
    neighbour_overlap: float | None = None


LIMITS: dict[Precision, Limits] = {
    "fp32": Limits(cosine_min=0.9999),
    "fp16": Limits(cosine_min=0.9999),
    "int8": Limits(cosine_p50=0.9, neighbour_overlap=0.5),
}
"""For int8 they separate the nets that rank as before from those that collapse."""


@dataclass(frozen=True)
class SampleImages:
    """Image files with their classes."""

    source: str
    files: list[bytes]
    labels: list[str | None]


@dataclass(frozen=True)
class Link:
    """One link of the chain: how the vectors after it agree with those before it."""

    before: str
    after: str
    agreement: Agreement


@dataclass(frozen=True)
class Record:
    """The parity record beside a model file.

    Attributes:
        model: Its name.
        sha256: Its checksum.
        images: The source of the compared images; each agreement holds their number.
        calibration: The source of other images, which int8 was calibrated on.
        limits: What the last link had to reach.
        forced: True if it did not, and was written all the same.
        links: Each step, and last torch against the file itself.
    """

    model: str
    sha256: str
    images: str
    calibration: str | None
    limits: Limits
    forced: bool
    links: list[Link]


RECORD = TypeAdapter(Record)


def sample_images(count: int = 256, shift: float = 0.0, source: str = SAMPLE) -> SampleImages:
    """Return image files of a source that can be decoded, spread evenly over it.

    Args:
        count: How many; all if there are fewer.
        shift: Part of the way from each image to the next, so that another shift gives other images.
        source: What `open_source` takes.

    Raises:
        UsageError: There is no such source, or none of these images can be decoded.
    """
    items: list[Item] = list(open_source(source, SourceOptions()).items)
    step = max(1.0, len(items) / count)
    rows = [int((i + shift) * step) for i in range(min(count, len(items)))]
    files, labels = [], []
    for item in (items[row] for row in rows if row < len(items)):
        try:
            data = item.read()
            decode(data)
        except (ImageError, OSError) as error:
            log.warning("%s is left out: %s", to_plain(item.key), error)
            continue
        files.append(data)
        labels.append(item.label)
    if not files:
        raise UsageError(f"{source}: none of its images can be decoded")
    return SampleImages(source, files, labels)


def file_vectors(embedder: Embedder, files: Sequence[bytes]) -> Vector:
    """Return the (N, D) unit vectors that a model file gives."""
    batches = []
    for start in range(0, len(files), _BATCH):
        images = [embedder.decode(data, MAX_MEGAPIXELS) for data in files[start : start + _BATCH]]
        batches.append(embedder.embed(images))
    return np.concatenate(batches)


def agree(reference: Vector, vectors: Vector, labels: Sequence[str | None]) -> Agreement:
    """Return how vectors agree with the reference's of the same images, all unit vectors (N, D)."""
    cosine = (reference * vectors).sum(axis=1) if reference.shape == vectors.shape else np.array([np.nan])
    k = min(NEIGHBOURS, len(reference) - 1)
    ranked = [neighbours(points, points, k, exclude_self=True) for points in (reference, vectors)]
    shared = [len(np.intersect1d(a, b)) / k for a, b in zip(*ranked, strict=True)]
    precision: float | None = None
    change: float | None = None
    if all(labels) and len(set(labels)) > 1:
        classes = np.asarray(labels)
        relevant = [classes[hits[:, :5]] == classes[:, None] for hits in ranked]
        before, after = (accuracy(matrix, classes).precision_at_k for matrix in relevant)
        precision, change = round(after, 4), round(after - before, 4)
    return Agreement(
        images=len(reference),
        cosine_min=round(float(cosine.min()), 7),
        cosine_p1=round(float(np.percentile(cosine, 1)), 7),
        cosine_p50=round(float(np.median(cosine)), 7),
        neighbour_overlap=round(float(np.mean(shared)), 4),
        precision_at_5=precision,
        precision_at_5_change=change,
    )


def shortfall(agreement: Agreement, limits: Limits) -> str | None:
    """Return in words which limits an agreement misses, None if it reaches them all."""
    missed = []
    for name in ("cosine_min", "cosine_p50", "neighbour_overlap"):
        limit, value = getattr(limits, name), getattr(agreement, name)
        if limit is not None and not value >= limit:
            missed.append(f"{name.replace('_', ' ')} {value:.5g}, needed {limit}")
    return "; ".join(missed) or None


def require(agreement: Agreement, precision: Precision, remedy: str) -> None:
    """Raise `CbirError` if a file falls below the limits of its precision."""
    lack = shortfall(agreement, LIMITS[precision])
    if lack:
        raise CbirError(f"the {precision} file differs from torch: {lack}; {remedy}")
