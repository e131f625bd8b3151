"""All models of an accuracy measurement, one after the other: one model's vectors in memory at a time."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cbir.errors import UsageError
from cbir.evaluation.embeddings import Labelled, embed_labelled, open_labelled
from cbir.evaluation.retrieval import split_name
from cbir.models.sealed import Embedder, ModelCard
from cbir.settings import Settings
from cbir.sources.base import SourceOptions

from ..core.metrics import means
from .measure import (
    SPLIT,
    ClassAccuracy,
    Failing,
    ModelAccuracy,
    Pair,
    Task,
    by_class,
    describe,
    failing,
    judge,
    make_task,
    pictures_digest,
    same_pictures,
    sure,
    values_of,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """What to measure."""

    source: str
    options: SourceOptions
    k: int
    seed: int
    protocol: str
    resamples: int


@dataclass(frozen=True)
class Found:
    """What was measured.

    Attributes:
        name: Of the data set.
        pictures: That all models could embed.
        left_out: Pictures with a label that one of them could not.
        copies: Pictures whose file is exactly that of an earlier one.
        digest: What tells this set of pictures, classes and roles from another.
        indexed: Pictures that may be hits.
        queries: Pictures that were asked for.
        models: In the order they were given.
        pairs: Of models.
        warnings: What a reader must know of a model.
    """

    name: str
    pictures: int
    left_out: int
    copies: int
    digest: str
    indexed: int
    queries: int
    models: list[ModelAccuracy]
    pairs: list[Pair]
    warnings: list[str]


@dataclass(frozen=True)
class _One:
    """What is kept of a model when its vectors are let go."""

    card: ModelCard
    sha256: str
    megabytes: float
    values: dict[str, Any]
    with_copies: dict[str, float]
    classes: list[ClassAccuracy]
    failing: list[Failing]


def measure(files: Sequence[Path], asked: Asked, settings: Settings) -> Found:
    """Judge every model on the pictures that all of them could embed.

    Raises:
        UsageError: A file is no model, or the source has no labels, one class, or too few pictures.
    """
    embedders = [Embedder(path, threads=1) for path in files]
    twice = [one.path for at, one in enumerate(embedders) if one.sha256 in {other.sha256 for other in embedders[:at]}]
    if twice:
        raise UsageError(f"the same model twice: {twice[0]}")
    name, items = open_labelled(asked.source, asked.options)
    common: set[bytes] | None = None
    ones: list[_One] = []
    task: Task | None = None
    digests: dict[str, bytes] = {}
    while len(ones) < len(embedders):
        embedder = embedders[len(ones)]
        labelled = embed_labelled(name, items, embedder, settings, digests)
        digests |= zip(labelled.keys, labelled.digests, strict=True)
        there = set(labelled.digests)
        if common is not None and not common <= there:
            common, ones, task = common & there, [], None  # all over again, without those that this one cannot embed
            continue
        common = there if common is None else common
        labelled = same_pictures(labelled, common)
        if task is None:
            task = make_task(labelled, asked.protocol, asked.seed, asked.k)
        ones.append(_judge(labelled, task, embedder))
    if task is None or common is None:
        raise UsageError("name a model")
    intervals, pairs, ranked = sure([one.values for one in ones], task, asked.resamples, asked.seed)
    asked_for = task.classes[task.queries]
    models = [
        ModelAccuracy(
            name=one.card.name,
            precision=one.card.precision,
            dimension=one.card.dimension,
            megabytes=one.megabytes,
            weights=one.card.weights,
            training=describe(one.card),
            random_weights=one.card.random_weights,
            sha256=one.sha256,
            metrics=means(one.values, asked_for, asked.k),
            intervals=bounds,
            with_copies=one.with_copies,
            rank=rank,
            classes=one.classes,
            failing=one.failing,
        )
        for one, bounds, rank in zip(ones, intervals, ranked, strict=True)
    ]
    return Found(
        name=name,
        pictures=len(task.labels),
        left_out=len(items) - len(task.labels),
        copies=len(task.digests) - len(set(task.digests)),
        digest=pictures_digest(task),
        indexed=len(task.indexed),
        queries=len(task.queries),
        models=models,
        pairs=pairs,
        warnings=[warning for one in ones for warning in _warnings(one.card, name, asked)],
    )


def _judge(labelled: Labelled, task: Task, embedder: Embedder) -> _One:
    judged = judge(labelled.vectors, task)
    values, with_copies = values_of(judged, task)
    return _One(
        card=embedder.card,
        sha256=embedder.sha256,
        megabytes=embedder.path.stat().st_size / 1e6,
        values=values,
        with_copies=with_copies,
        classes=by_class(judged, values, task),
        failing=failing(judged, values, task),
    )


def _warnings(card: ModelCard, data: str, asked: Asked) -> list[str]:
    """Return why a model's figures are not what they seem."""
    found = []
    if card.random_weights:
        found.append(f"WARNING: {card.name} has random weights; its figures mean nothing.")
    if card.training is not None and card.training.data == data:
        if asked.protocol != SPLIT or card.training.split != split_name(asked.seed):
            found.append(
                f"WARNING: {card.name} was trained on pictures of {data} that may be asked for here; its figures are"
                f" too good. --protocol split --seed of its training ({card.training.split}) asks for others."
            )
        else:
            found.append(f"{card.name} was trained on the indexed pictures, and on none of those that are asked for.")
    return found
