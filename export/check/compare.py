"""Compare model files: speed, size, agreement with the first file, and accuracy on a data set."""

import logging
import math
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from cbir.evaluation.embeddings import Labelled
from cbir.evaluation.retrieval import Accuracy, has_split, neighbours, score, split
from cbir.images.decode import decode
from cbir.models.card import Training
from cbir.models.embedder import Embedder
from cbir.tables import Cell, Column, Table

from ..convert.parity import NEIGHBOURS, SampleImages, compare_vectors

log = logging.getLogger(__name__)

BATCHES = (1, 32)
_SECONDS = 6.0
_ROUNDS = (3, 40)
_COLUMNS = (
    Column("model"),
    Column("precision"),
    Column("runs on"),
    Column("D", format="d"),
    Column("MB", format=".1f"),
    *(Column(f"ms at {size}", format=".2f") for size in BATCHES),
    Column("cosine p1", format=".5f"),
    Column("p50", format=".5f"),
    Column("neighbours", format=".3f"),
    Column("sample P@5", format=".4f"),
)


def comparison(embedders: Sequence[Embedder], sample: SampleImages) -> Table:
    """Return the table that compares models with the first. They are timed in turns, so other load affects all alike.

    Its times are the median milliseconds per image for each size of batch.
    """
    vectors = [embedder.embed(sample.files) for embedder in embedders]
    images = [decode(data) for data in sample.files[: max(BATCHES)]]
    inputs = [np.stack([embedder.pixels(image) for image in images]) for embedder in embedders]
    times = []
    for size in BATCHES:
        runs = [partial(embedder.run, pixels[:size]) for embedder, pixels in zip(embedders, inputs, strict=True)]
        times.append([spent / size for spent in median_times(runs)])
    rows: list[list[Cell]] = []
    for embedder, own, *spent in zip(embedders, vectors, *times, strict=True):
        card, agreement = embedder.card, compare_vectors(vectors[0], own, sample.labels)
        cosines = (agreement.cosine_p1, agreement.cosine_p50)  # NaN if the dimensions differ
        rows.append(
            [
                *(card.name, card.precision, embedder.device, card.dimension, embedder.path.stat().st_size / 1e6),
                *spent,
                *(None if math.isnan(cosine) else cosine for cosine in cosines),
                *(agreement.neighbour_overlap, agreement.precision_at_5),
            ]
        )
    return Table("", _COLUMNS, rows)


def median_times(calls: Sequence[Callable[[], object]]) -> list[float]:
    """Return the median milliseconds of each call. After a warm-up the calls take turns."""
    once = 0.0
    for call in calls:
        call()
        start = time.perf_counter()
        call()
        once += time.perf_counter() - start
    rounds = int(np.clip(_SECONDS / once, *_ROUNDS))
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, spent in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            spent.append(time.perf_counter() - start)
    return [statistics.median(spent) * 1e3 for spent in times]


def protocol_accuracy(labelled: Labelled, seed: int, training: Training | None) -> Accuracy:
    """Return the accuracy when the test part is searched in the training part (see `cbir.evaluation.retrieval`).

    Warn if the model was trained on another split of the same data, because that split contains some of the queries.
    """
    parts = split(labelled.labels, seed)
    classes = sorted(set(labelled.labels))
    if training and training.data == labelled.name and not has_split(training, seed, len(parts.train), classes):
        log.warning(
            "The accuracy is too high: some queries are among the %s images of %s (%s) that the model was trained on",
            f"{training.images:,}",
            training.data,
            training.split,
        )
    return score(labelled.vectors, labelled.labels, parts.train, parts.test)


def shared_neighbours(reference: Labelled, labelled: Labelled, seed: int) -> float | None:
    """Return the mean share of the ten nearest images in the training part that two models agree on for a test image.

    None if a model has no vector for some of the images.
    """
    if reference.keys != labelled.keys:
        return None
    parts = split(reference.labels, seed)
    k = min(NEIGHBOURS, len(parts.train))
    found = [neighbours(each.vectors[parts.test], each.vectors[parts.train], k) for each in (reference, labelled)]
    return float(np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(*found, strict=True)]))
