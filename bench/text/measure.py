"""How well texts find their images, images their texts, and zero-shot labels the classes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from cbir import terminal
from cbir.errors import UsageError
from cbir.evaluation.captions import Captioned, is_held_out, ranks, read_captioned
from cbir.evaluation.retrieval import blocks
from cbir.models.embedder import Embedder, load_embedder
from cbir.records import Vector
from cbir.search.zero_shot import label_vectors
from cbir.settings import Settings
from cbir.sources.base import SourceOptions
from cbir.tables import Range

RANKS = (1, 5, 10)
HITS = 10


@dataclass(frozen=True)
class Options:
    """What is measured: captions in the columns or the file, and classes in the column `label`."""

    source: str
    captions: list[str]
    captions_file: Path | None
    label: str | None
    top_classes: int | None
    limit: int | None
    template: str | None


@dataclass(frozen=True)
class TextAccuracy:
    """One model with its text tower. Recalls and accuracies are shares of queries, with their 95 % interval (Wilson).

    `unseen` is True if the text tower learned from other images of this source, and only the rest was used. Without
    classes, what is about them is None. `class_hits` is the mean over the classes.
    """

    name: str
    precision: str
    sha256: str
    tower: str
    tower_sha256: str
    random_weights: bool
    unseen: bool
    images: int
    captions: int
    text_to_image: dict[int, Range]
    image_to_text: dict[int, Range]
    classes: int = 0
    labelled: int = 0
    zero_shot: Range | None = None
    class_hits: float | None = None


def measure(files: Sequence[Path], options: Options, settings: Settings) -> list[TextAccuracy]:
    """Return how well words work with each model.

    Raises:
        UsageError: A model has no text tower, or no image has a caption.
    """
    embedders = [load_embedder(file, settings, threads=1) for file in files]
    for embedder in embedders:
        embedder.text_tower  # noqa: B018  a model without one is an error before hours of embedding
    return [_measure(embedder, options, settings) for embedder in embedders]


def _measure(embedder: Embedder, options: Options, settings: Settings) -> TextAccuracy:
    source_options = SourceOptions(label=options.label, top_classes=options.top_classes, limit=options.limit)
    found = read_captioned(
        options.source,
        options.captions,
        options.captions_file,
        source_options,
        embedder,
        settings,
        terminal.progress,
    )
    tower = embedder.text_tower.card
    learned = tower.training
    seed = learned.seed if learned is not None and learned.data == found.name else None
    if seed is not None:
        found = found.of_rows([row for row, key in enumerate(found.keys) if is_held_out(key, seed)])
        if not len(found.vectors):
            raise UsageError(
                f"the text tower learned from all of these images of {found.name}. Measure it with others."
            )
    texts, owners = _embedded_captions(embedder, found)
    forward = ranks(texts, found.vectors, owners)
    backward = _best_caption(found.vectors, texts, owners)
    measured = TextAccuracy(
        name=embedder.card.name,
        precision=embedder.card.arithmetic,
        sha256=embedder.sha256,
        tower=tower.name,
        tower_sha256=embedder.text_tower.sha256,
        random_weights=embedder.card.random_weights or tower.random_weights,
        unseen=seed is not None,
        images=len(found.vectors),
        captions=len(texts),
        text_to_image={k: _share(forward < k) for k in RANKS},
        image_to_text={k: _share(backward < k) for k in RANKS},
    )
    return _with_labels(measured, embedder, found, options.template)


def _embedded_captions(embedder: Embedder, found: Captioned) -> tuple[Vector, npt.NDArray[np.int64]]:
    """Return the vectors of all captions, and the row of the image of each."""
    pairs = [(row, caption) for row, captions in enumerate(found.captions) for caption in captions]
    vectors = []
    with terminal.progress("embedding captions", len(pairs)) as advance:
        for start in range(0, len(pairs), 64):
            batch = [caption for _, caption in pairs[start : start + 64]]
            vectors.append(embedder.embed_text(batch))
            advance(len(batch))
    return np.concatenate(vectors), np.array([row for row, _ in pairs])


def _best_caption(images: Vector, texts: Vector, owners: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return for each image how many captions of others are more similar to it than the best of its own."""
    better = np.empty(len(images), np.int64)
    for rows in blocks(len(images), len(texts)):
        for row, scores in enumerate(images[rows] @ texts.T, rows.start):
            better[row] = (scores > scores[owners == row].max()).sum()
    return better


def _with_labels(measured: TextAccuracy, embedder: Embedder, found: Captioned, template: str | None) -> TextAccuracy:
    """Add the zero-shot accuracy, and the share of the ten best hits of a class's name that are of the class."""
    rows = [row for row, label in enumerate(found.labels) if label is not None]
    names = sorted({str(found.labels[row]) for row in rows})
    if len(names) < 2:
        return measured
    scores = label_vectors(names, template, embedder) @ found.vectors[rows].T
    classes = np.array([names.index(str(found.labels[row])) for row in rows])
    best = np.argsort(-scores, axis=1, kind="stable")[:, :HITS]
    hits = [float((classes[of_name] == number).mean()) for number, of_name in enumerate(best)]
    zero_shot = _share(scores.argmax(axis=0) == classes)
    class_hits = float(np.mean(hits))
    return replace(measured, classes=len(names), labelled=len(rows), zero_shot=zero_shot, class_hits=class_hits)


def _share(hit: npt.NDArray[np.bool_]) -> Range:
    """Return the share of hits with its 95 % Wilson interval."""
    interval = binomtest(int(hit.sum()), len(hit)).proportion_ci(method="wilson")
    return Range(float(hit.mean()), float(interval.low), float(interval.high))
