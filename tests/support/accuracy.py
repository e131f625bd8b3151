"""Labelled images and options for tests of `cbir-bench accuracy`."""

import numpy as np
from cbir.bench.accuracy.measure import Options

from cbir.evaluation.embeddings import Labelled

OPTIONS = Options(
    source="images",
    query_source=None,
    label=None,
    top_classes=None,
    limit=None,
    k=5,
    seed=42,
    protocol="split",
    resamples=500,
)


def labelled(vectors: np.ndarray, labels: str, files: str | None = None, prefix: str = "") -> Labelled:
    """Return images with one letter as the label; those with the same letter in `files` are exact copies."""
    keys = [f"{prefix}{number}" for number in range(len(labels))]
    digests = [letter.encode() for letter in files or ()] or [key.encode() for key in keys]
    return Labelled("made", vectors, list(labels), digests, keys)
