"""Compare the vectors of a model file with torch's, from image files on.

Each link of the chain torch, ONNX fp32 and, if built, ONNX fp16 or int8 is measured and recorded next to the file.
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
from cbir.records import Item, Vector, to_plain
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source

log = logging.getLogger(__name__)

SAMPLE = "sample://openmoji"
NEIGHBOURS = 10

LIMITS: dict[Precision, dict[str, float]] = {
    "fp32": {"cosine_min": 0.9999},
    "fp16": {"cosine_min": 0.9999},
    "int8": {"cosine_p50": 0.9, "neighbour_overlap": 0.5},
}
"""The lowest agreement, with torch or with the file that it was quantized from, of a file that is written.

For int8 they separate models that rank as before from those whose ranking breaks down.
"""


@dataclass(frozen=True)
class SampleImages:
    """Image files and their classes."""

    source: str
    files: list[bytes]
    labels: list[str | None]


@dataclass(frozen=True)
class Link:
    """One link of the chain: the agreement of the vectors after it with those before it."""

    before: str
    after: str
    agreement: Agreement


@dataclass(frozen=True)
class Record:
    """The parity record next to a model file, with its checksum and the sources of the images.

    The last link compares torch with the file itself, or the file that it was quantized from; `forced` means that it is
    below the limits.
    """

    model: str
    sha256: str
    images: str
    calibration: str | None
    limits: dict[str, float]
    forced: bool
    links: list[Link]


RECORD = TypeAdapter(Record)


def sample_images(count: int = 256, shift: float = 0.0, source: str = SAMPLE) -> SampleImages:
    """Return at most `count` image files spread evenly over a source, without those that cannot be decoded.

    `shift` is a fraction of a step: another one selects other images.
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
            log.warning("skipped %s: %s", to_plain(item.key), error)
            continue
        files.append(data)
        labels.append(item.label)
    if not files:
        raise UsageError(f"{source} has no image that can be decoded")
    return SampleImages(source, files, labels)


def compare_vectors(reference: Vector, vectors: Vector, labels: Sequence[str | None]) -> Agreement:
    """Return the agreement of vectors with reference vectors of the same images, all unit vectors (N, D)."""
    cosine = (reference * vectors).sum(axis=1) if reference.shape == vectors.shape else np.array([np.nan])
    k = min(NEIGHBOURS, len(reference) - 1)
    ranked = [neighbours(points, points, k, exclude_self=True) for points in (reference, vectors)]
    shared = [len(np.intersect1d(a, b)) / k for a, b in zip(*ranked, strict=True)]
    precision, change = None, None
    if all(labels) and len(set(labels)) > 1:
        classes = np.asarray(labels)
        relevant = [classes[hits[:, :5]] == classes[:, None] for hits in ranked]
        before, after = (accuracy(matrix).precision_at_k for matrix in relevant)
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


def shortfall(agreement: Agreement, precision: Precision) -> str | None:
    """Return a description of the limits that an agreement misses, or None."""
    missed = [
        f"{name.replace('_', ' ')} {value:.5g}, expected at least {limit}"
        for name, limit in LIMITS[precision].items()
        if not (value := getattr(agreement, name)) >= limit
    ]
    return "; ".join(missed) or None


def require(agreement: Agreement, precision: Precision, remedy: str, reference: str = "torch") -> None:
    """Raise `CbirError` if a file is below the limits of its precision."""
    missed = shortfall(agreement, precision)
    if missed:
        raise CbirError(f"The {precision} file differs from {reference}: {missed}. {remedy}")
