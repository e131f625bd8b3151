"""All models of an accuracy measurement, one after the other: one model's vectors in memory at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cbir import terminal
from cbir.errors import UsageError
from cbir.evaluation.embeddings import embed_labelled, open_labelled
from cbir.evaluation.retrieval import split_name
from cbir.models.card import ModelCard
from cbir.models.embedder import Embedder, load_embedder
from cbir.settings import Settings
from cbir.sources.base import SourceOptions

from ..core.metrics import means
from . import measure as judging
from .measure import SPLIT, Judged, ModelAccuracy, Pair, Task


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
        pictures: That all models could embed.
        left_out: Pictures with a label that one of them could not.
        copies: Pictures whose file is exactly that of an earlier one.
        digest: What tells this set of pictures, classes and roles from another.
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


def measure(files: Sequence[Path], asked: Asked, settings: Settings) -> Found:
    """Judge every model on the pictures that all of them could embed."""
    embedders = [load_embedder(path, settings, threads=1) for path in files]
    twice = [one.path for at, one in enumerate(embedders) if one.sha256 in {other.sha256 for other in embedders[:at]}]
    if twice:
        raise UsageError(f"the same model twice: {twice[0]}")
    name, items = open_labelled(asked.source, asked.options)
    common: set[bytes] | None = None
    models: list[ModelAccuracy] = []
    values: list[dict[str, Any]] = []
    task: Task | None = None
    digests: dict[str, bytes] = {}
    while len(models) < len(embedders):
        embedder = embedders[len(models)]
        labelled = embed_labelled(name, items, embedder, settings, digests, terminal.progress)
        digests |= zip(labelled.keys, labelled.digests, strict=True)
        there = set(labelled.digests)
        if common is not None and not common <= there:  # all over again, without those that this one cannot embed
            common, models, values, task = common & there, [], [], None
            continue
        common = there if common is None else common
        labelled = judging.same_pictures(labelled, common)
        if task is None:
            task = judging.make_task(labelled, asked.protocol, asked.seed, asked.k)
        model, per_query = _model(judging.judge(labelled.vectors, task), task, embedder)
        models.append(model)
        values.append(per_query)
    if task is None:
        raise UsageError("name a model")
    intervals, pairs, ranked = judging.sure(values, task, asked.resamples, asked.seed)
    models = [
        replace(model, intervals=bounds, rank=rank)
        for model, bounds, rank in zip(models, intervals, ranked, strict=True)
    ]
    return Found(
        name=name,
        pictures=len(task.labels),
        left_out=len(items) - len(task.labels),
        copies=len(task.digests) - len(set(task.digests)),
        digest=judging.pictures_digest(task),
        indexed=len(task.indexed),
        queries=len(task.queries),
        models=models,
        pairs=pairs,
        warnings=[warning for one in embedders for warning in _warnings(one.card, name, asked)],
    )


def _model(judged: Judged, task: Task, embedder: Embedder) -> tuple[ModelAccuracy, dict[str, Any]]:
    card = embedder.card
    values, with_copies = judging.values_of(judged, task)
    found = ModelAccuracy(
        **{name: getattr(card, name) for name in ("name", "precision", "dimension", "weights", "random_weights")},
        megabytes=embedder.path.stat().st_size / 1e6,
        training=judging.describe(card),
        sha256=embedder.sha256,
        metrics=means(values, task.classes[task.queries], task.k),
        intervals={},
        with_copies=with_copies,
        rank=0,
        classes=judging.by_class(judged, values, task),
        failing=judging.failing(judged, values, task),
    )
    return found, values


def _warnings(card: ModelCard, data: str, asked: Asked) -> list[str]:
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
