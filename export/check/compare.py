"""Compare model files: speed, size, agreement with the first file, and accuracy on a data set."""

import logging
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from cbir.evaluation.embeddings import Labelled
from cbir.evaluation.retrieval import Accuracy, score, split, split_name
from cbir.images.decode import decode
from cbir.models.card import Agreement, Training
from cbir.models.embedder import Embedder

from ..convert.parity import SampleImages, compare_vectors, file_vectors

log = logging.getLogger(__name__)

BATCHES = (1, 32)
_SECONDS = 6.0
_ROUNDS = (3, 40)


@dataclass(frozen=True)
class ComparedModel:
    """A model, its median milliseconds per image by batch size, and its agreement with the vectors of the first model.

    Cosines are NaN if the dimension differs.
    """

    embedder: Embedder
    milliseconds: dict[int, float]
    to_first: Agreement


def compare_models(embedders: Sequence[Embedder], sample: SampleImages) -> list[ComparedModel]:
    """Return the comparison of the models with the first. They are timed in turns, so other load affects all alike."""
    vectors = [file_vectors(embedder, sample.files) for embedder in embedders]
    images = [decode(data) for data in sample.files[: max(BATCHES)]]
    inputs = [np.stack([embedder.pixels(image) for image in images]) for embedder in embedders]
    times = {}
    for size in BATCHES:
        runs = [partial(embedder.run, pixels[:size]) for embedder, pixels in zip(embedders, inputs, strict=True)]
        times[size] = median_times(runs)
    return [
        ComparedModel(
            embedder,
            {size: spent[i] / size for size, spent in times.items()},
            compare_vectors(vectors[0], vectors[i], sample.labels),
        )
        for i, embedder in enumerate(embedders)
    ]


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
    expected = (split_name(seed), len(parts.train), sorted(set(labelled.labels)))
    trained = training and (training.split, training.images, training.classes)
    if training and training.data == labelled.name and trained != expected:
        log.warning(
            "The accuracy is too high: some queries are among the %s images of %s (%s) that the model was trained on",
            f"{training.images:,}",
            training.data,
            training.split,
        )
    return score(labelled.vectors, labelled.labels, parts.train, parts.test)
