"""How well each model finds images of the query's class, on the same images, and how certain that is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from cbir import terminal
from cbir.errors import UsageError
from cbir.evaluation.embeddings import Labelled, embed_labelled, open_labelled
from cbir.evaluation.retrieval import Rows, has_split, neighbours, split
from cbir.models.card import ModelCard
from cbir.models.embedder import Embedder, load_embedder
from cbir.records import Item, Vector
from cbir.settings import Settings
from cbir.sources.base import SourceOptions

from ..core.metrics import Ranking, means, per_query
from .significance import Pair, Values, compare_models, ranks

Protocol = Literal["split", "leave-one-out", "two-sources"]


@dataclass(frozen=True)
class Options:
    """What is measured. Without a `query_source`, queries are taken from `source` by the protocol."""

    source: str
    query_source: str | None
    label: str | None
    top_classes: int | None
    limit: int | None
    k: int
    seed: int
    protocol: Protocol
    resamples: int
    expand: int = 0


@dataclass(frozen=True)
class ClassAccuracy:
    """The queries of one class. `retrieved_as` is the share of the hits by label, the most frequent first."""

    label: str
    queries: int
    indexed: int
    metrics: dict[str, float]
    retrieved_as: dict[str, float]


@dataclass(frozen=True)
class ModelAccuracy:
    """One model.

    `metrics` are means over the queries, without the query and its exact copies among the hits; `with_copies` are the
    same means with the copies. `rank` is 1 plus the number of models that are better beyond chance. `backbone` is its
    name in `cbir-export list`, "" in older results.
    """

    name: str
    precision: str
    sha256: str
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    with_copies: dict[str, float]
    rank: int
    classes: list[ClassAccuracy]
    backbone: str = ""


@dataclass(frozen=True)
class ImageSet:
    """The images that all models can embed; `left_out` are those with a label that a model cannot embed.

    `copies` have exactly the file of another image. `without_class` are queries of a class that no indexed image has.
    """

    name: str
    images: int
    left_out: int
    copies: int
    indexed: int
    queries: int
    without_class: int


@dataclass(frozen=True)
class Task:
    """Which images are indexed, and which are queries.

    Attributes:
        classes: (N,) the class of each image as a number, in the order of `names`.
        files: (N,) a number for the file of each image, the same for exact copies.
        indexed: The rows of the indexed images, and `queries` those of the queries.
    """

    names: list[str]
    classes: npt.NDArray[np.int64]
    files: npt.NDArray[np.int64]
    indexed: Rows
    queries: Rows
    k: int
    expand: int = 0

    @property
    def query_classes(self) -> npt.NDArray[np.int64]:
        """(Q,) the class of each query."""
        return self.classes[self.queries]


def open_sources(options: Options) -> list[tuple[str, list[Item]]]:
    """Return the name and the labelled items of the source, and of the source of queries if there is one.

    The most frequent classes are those of the indexed images.
    """
    every = SourceOptions(label=options.label, limit=options.limit)
    sources = [open_labelled(options.source, replace(every, top_classes=options.top_classes))]
    if options.query_source:
        name, items = open_labelled(options.query_source, every)
        labels = {item.label for item in sources[0][1]}
        sources.append((name, [item for item in items if not options.top_classes or item.label in labels]))
    return sources


def make_task(parts: Sequence[Labelled], usable: set[bytes], options: Options) -> tuple[Task, Vector]:
    """Return the task for the images of all sources whose SHA-256 is in `usable`, and the vectors of these images."""
    digests = [digest for part in parts for digest in part.digests]
    kept = np.array([digest in usable for digest in digests])
    labels = np.concatenate([part.labels for part in parts])[kept]
    names, classes = np.unique(labels, return_inverse=True)
    numbers = {digest: number for number, digest in enumerate(usable)}
    files = np.array([numbers[digest] for digest in digests if digest in usable])
    rows = np.arange(len(files))
    if len(names) < 2:
        raise UsageError(
            f"All {len(rows):,} images are of one class, {str(names[0])!r}. Use a source with more classes."
        )
    indexed = queries = rows
    if options.protocol == "split":
        chosen = split(labels.tolist(), options.seed)
        indexed, queries = np.sort(chosen.train), np.sort(chosen.test)
    elif options.protocol == "two-sources":
        first = kept[: len(parts[0].labels)].sum()
        indexed, queries = rows[:first], rows[first:]
    if len(indexed) <= options.k + 1:
        raise UsageError(f"{len(indexed):,} indexed images are too few for {options.k} hits. Add images or lower -k.")
    if len(queries) < 2:
        raise UsageError("A measurement needs at least two queries. Add images to search with.")
    vectors = np.concatenate([part.vectors for part in parts])[kept]
    return Task(names.tolist(), classes.astype(np.int64), files, indexed, queries, options.k, options.expand), vectors


def search(vectors: Vector, task: Task) -> tuple[Rows, Rows]:
    """Return the rows of each query's hits, (Q, k), -1 for none: without exact copies of the query, and with them.

    The query itself is never a hit. With `task.expand`, the query is its mean with so many hits (see `cbir.search`).
    """
    queries, indexed = vectors[task.queries], vectors[task.indexed]
    if task.expand:
        found = task.indexed[neighbours(queries, indexed, min(len(indexed), task.expand + 1))]
        hits = _first(found, found != task.queries[:, None], task.expand)
        mean = queries.copy()
        for rows in hits.T:  # one rank at a time: all at once could be many gigabytes
            mean += np.where((rows >= 0)[:, None], vectors[rows], 0)
        queries = mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
    copies = np.bincount(task.files[task.indexed], minlength=int(task.files.max()) + 1)
    depth = min(len(indexed), task.k + int(copies[task.files[task.queries]].max()) + 1)
    found = task.indexed[neighbours(queries, indexed, depth)]
    itself = found == task.queries[:, None]
    copy = task.files[found] == task.files[task.queries][:, None]
    return _first(found, ~copy, task.k), _first(found, ~itself, task.k)


def _first(found: Rows, allowed: npt.NDArray[np.bool_], k: int) -> Rows:
    order = np.argsort(~allowed, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(np.where(allowed, found, -1), order, axis=1)


def judge(hits: Rows, task: Task, with_copies: bool) -> Ranking:
    """Return which hits are of their query's class, and how many such images the index holds for each query."""
    relevant = (hits >= 0) & (task.classes[hits] == task.query_classes[:, None])
    possible = np.bincount(task.classes[task.indexed], minlength=len(task.names))[task.query_classes]
    if with_copies:
        return Ranking(relevant, possible - np.isin(task.queries, task.indexed))
    keys = task.files * len(task.names) + task.classes  # the same for copies that have the same class
    counts = np.bincount(keys[task.indexed], minlength=int(keys.max()) + 1)
    return Ranking(relevant, possible - counts[keys[task.queries]])


def measure(
    files: Sequence[Path], options: Options, settings: Settings
) -> tuple[ImageSet, list[ModelAccuracy], list[Pair], list[str]]:
    """Judge every model on the images that all of them can embed; return also warnings.

    Only one model's vectors are in memory at a time.
    """
    embedders = [load_embedder(path, settings, threads=1) for path in files]
    if len({embedder.sha256 for embedder in embedders}) < len(embedders):
        raise UsageError("The same model is given twice. Remove one --model.")
    sources = open_sources(options)
    read_before: list[dict[str, bytes]] = [{} for _ in sources]
    judged: list[tuple[ModelAccuracy, dict[str, Values]]] = []
    usable: set[bytes] = set()
    while len(judged) < len(embedders):
        embedder = embedders[len(judged)]
        parts = [
            embed_labelled(name, items, embedder, settings, digests, terminal.progress)
            for (name, items), digests in zip(sources, read_before, strict=True)
        ]
        for part, digests in zip(parts, read_before, strict=True):
            digests.update(zip(part.keys, part.digests, strict=True))
        embedded = {digest for part in parts for digest in part.digests}
        usable = usable or embedded
        if not usable <= embedded:  # start again without the images that this model cannot embed
            usable, judged = usable & embedded, []
            continue
        task, vectors = make_task(parts, usable, options)
        judged.append(judge_model(embedder, vectors, task))
    values = [values for _, values in judged]
    intervals, pairs = compare_models(values, f"precision_at_{options.k}", options.resamples, options.seed)
    models = [
        replace(model, intervals=bounds, rank=rank)
        for (model, _), bounds, rank in zip(judged, intervals, ranks(len(judged), pairs), strict=True)
    ]
    count = len(task.files)
    images = ImageSet(
        name=" and ".join(name for name, _ in sources),
        images=count,
        left_out=sum(len(items) for _, items in sources) - count,
        copies=count - len(usable),
        indexed=len(task.indexed),
        queries=len(task.queries),
        without_class=int(np.isin(task.query_classes, task.classes[task.indexed], invert=True).sum()),
    )
    warnings = [
        warning for embedder in embedders for warning in warnings_about(embedder.card, sources[-1][0], options, task)
    ]
    return images, models, pairs, warnings


def judge_model(embedder: Embedder, vectors: Vector, task: Task) -> tuple[ModelAccuracy, dict[str, Values]]:
    """Return the accuracy of one model, as yet without intervals and rank, and the metrics of every query."""
    card = embedder.card
    hits, hits_with_copies = search(vectors, task)
    values = per_query(judge(hits, task, with_copies=False))
    with_copies = per_query(judge(hits_with_copies, task, with_copies=True))
    model = ModelAccuracy(
        name=card.name,
        backbone=card.backbone,
        precision=card.arithmetic,
        sha256=embedder.sha256,
        metrics=means(values),
        intervals={},
        with_copies=means(with_copies),
        rank=0,
        classes=by_class(hits, values, task),
    )
    return model, values


def by_class(hits: Rows, values: Mapping[str, Values], task: Task) -> list[ClassAccuracy]:
    """Return the classes of the queries, those with most queries first."""
    indexed = np.bincount(task.classes[task.indexed], minlength=len(task.names))
    found = []
    for number in np.unique(task.query_classes).tolist():
        mine = task.query_classes == number
        counts = np.bincount(task.classes[hits[mine][hits[mine] >= 0]], minlength=len(task.names))
        order = [other for other in np.argsort(-counts, kind="stable").tolist() if counts[other]]
        found.append(
            ClassAccuracy(
                label=task.names[number],
                queries=int(mine.sum()),
                indexed=int(indexed[number]),
                metrics=means({metric: value[mine] for metric, value in values.items()}),
                retrieved_as={task.names[other]: float(counts[other] / counts.sum()) for other in order},
            )
        )
    return sorted(found, key=lambda accuracy: -accuracy.queries)


def warnings_about(card: ModelCard, queries: str, options: Options, task: Task) -> list[str]:
    """Return what makes a model's metrics meaningless or too good; `queries` names the source of the queries."""
    if card.random_weights:
        return [f"WARNING: {card.name} has random weights. Its metrics mean nothing."]
    training = card.training
    if training is None or training.data != queries:
        return []
    if options.protocol == "split" and has_split(training, options.seed, len(task.indexed), task.names):
        return [f"{card.name} was trained on the indexed images, and on none of the queries."]
    return [
        f"WARNING: {card.name} was trained on images of {queries} that may be queries here. Its metrics are too good."
        f" Use --protocol split, and the images and the --seed of its training: {training.images:,} images of"
        f" {len(training.classes):,} classes ({training.split})."
    ]
