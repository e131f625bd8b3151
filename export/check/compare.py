"""Model files side by side: time, size, agreement with the first, and how well they find a data set's classes."""

import logging
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from cbir.evaluation.embeddings import Labelled
from cbir.evaluation.retrieval import Accuracy, score, split, split_name
from cbir.images.decode import decode
from cbir.models.sealed import Agreement, Embedder, Training

from .parity import Pictures, agree, file_vectors

log = logging.getLogger(__name__)

BATCHES = (1, 32)
_SECONDS = 6.0
_ROUNDS = (3, 40)


@dataclass(frozen=True)
class Compared:
    """One model file beside the others.

    Attributes:
        path: The file.
        name: The model's name.
        precision: fp32, fp16 or int8.
        provider: What ran it.
        dimension: Length of its vectors.
        megabytes: Size of the file.
        milliseconds: Median time of one picture by batch size, model alone.
        to_first: How its vectors agree with those of the first file. The cosines are NaN if their dimension differs.
    """

    path: Path
    name: str
    precision: str
    provider: str
    dimension: int
    megabytes: float
    milliseconds: dict[int, float]
    to_first: Agreement


def compare_models(embedders: Sequence[Embedder], pictures: Pictures) -> list[Compared]:
    """Return the models' figures, timed in turns, so that whatever else the machine does falls on all alike."""
    vectors = [file_vectors(embedder, pictures.files) for embedder in embedders]
    images = [decode(data) for data in pictures.files[: max(BATCHES)]]
    inputs = [np.stack([embedder.pixels(image) for image in images]) for embedder in embedders]
    times = {
        size: in_turns([partial(one.run, pixels[:size]) for one, pixels in zip(embedders, inputs, strict=True)])
        for size in BATCHES
    }
    return [
        Compared(
            path=embedder.path,
            name=embedder.card.name,
            precision=embedder.card.precision,
            provider=embedder.provider,
            dimension=embedder.card.dimension,
            megabytes=embedder.path.stat().st_size / 1e6,
            milliseconds={size: found[at] / size for size, found in times.items()},
            to_first=agree(vectors[0], vectors[at], pictures.labels),
        )
        for at, embedder in enumerate(embedders)
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
    """Return the metrics of the protocol of `cbir.evaluation.retrieval`: training part indexed, test part asked for.

    Warns if a model was trained on another split of the same data, and so on pictures that are asked for.
    """
    parts = split(labelled.labels, seed)
    ours = (split_name(seed), len(parts.train), sorted(set(labelled.labels)))
    theirs = training and (training.split, training.pictures, training.classes)
    if training and training.data == labelled.name and theirs != ours:
        log.warning(
            "it was trained on %s pictures of %s (%s), so on some that are asked for: its figures are too good",
            f"{training.pictures:,}",
            training.data,
            training.split,
        )
    return score(labelled.vectors, labelled.labels, parts.train, parts.test)
