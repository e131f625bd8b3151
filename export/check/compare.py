"""Compare model files: time, size, agreement with the first, and how well they find a data set's classes."""

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
from cbir.models.card import Agreement, ModelCard, Training
from cbir.models.embedder import Embedder

from ..convert.parity import SampleImages, agree, file_vectors

log = logging.getLogger(__name__)

BATCHES = (1, 32)
_SECONDS = 6.0
_ROUNDS = (3, 40)


@dataclass(frozen=True)
class Compared:
    """One model file beside the others.

    Attributes:
        card: Its model card.
        provider: What ran it.
        megabytes: Size of the file.
        milliseconds: Median time of one image by batch size, model alone.
        to_first: How its vectors agree with those of the first file. The cosines are NaN if their dimension differs.
    """

    card: ModelCard
    provider: str
    megabytes: float
    milliseconds: dict[int, float]
    to_first: Agreement


def compare_models(embedders: Sequence[Embedder], sample: SampleImages) -> list[Compared]:
    """Return the models' figures. They are timed in turns, so that other load on the machine affects all alike."""
    vectors = [file_vectors(embedder, sample.files) for embedder in embedders]
    images = [decode(data) for data in sample.files[: max(BATCHES)]]
    inputs = [np.stack([embedder.pixels(image) for image in images]) for embedder in embedders]
    times = {}
    for size in BATCHES:
        runs = [partial(embedder.run, pixels[:size]) for embedder, pixels in zip(embedders, inputs, strict=True)]
        times[size] = in_turns(runs)
    return [
        Compared(
            card=embedder.card,
            provider=embedder.provider,
            megabytes=embedder.path.stat().st_size / 1e6,
            milliseconds={size: spent[i] / size for size, spent in times.items()},
            to_first=agree(vectors[0], vectors[i], sample.labels),
        )
        for i, embedder in enumerate(embedders)
    ]


def in_turns(calls: Sequence[Callable[[], object]]) -> list[float]:
    """Return the median milliseconds of each call, after a warm-up, the calls taking turns."""
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
    """Return the metrics of the protocol of `cbir.evaluation.retrieval`: training part indexed, test part as queries.

    Warn if the model was trained on another split of the same data, and so on images that are now queries.
    """
    parts = split(labelled.labels, seed)
    here = (split_name(seed), len(parts.train), sorted(set(labelled.labels)))
    trained = training and (training.split, training.images, training.classes)
    if training and training.data == labelled.name and trained != here:
        log.warning(
            "it was trained on %s images of %s (%s), so on some that are asked for: its figures are too good",
            f"{training.images:,}",
            training.data,
            training.split,
        )
    return score(labelled.vectors, labelled.labels, parts.train, parts.test)
