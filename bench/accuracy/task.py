"""The task of an accuracy measurement: which images are indexed, which are queries, and how hits are judged."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from cbir.errors import UsageError
from cbir.evaluation.embeddings import Labelled, open_labelled
from cbir.evaluation.retrieval import Rows, neighbours, split
from cbir.records import Item, Vector
from cbir.sources.base import SourceOptions

from ..core.metrics import Ranking

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
    return Task(names.tolist(), classes.astype(np.int64), files, indexed, queries, options.k), vectors


def search(vectors: Vector, task: Task) -> tuple[Rows, Rows]:
    """Return the rows of each query's hits, (Q, k), -1 for none: without exact copies of the query, and with them.

    The query itself is never a hit.
    """
    copies = np.bincount(task.files[task.indexed], minlength=int(task.files.max()) + 1)
    depth = min(len(task.indexed), task.k + int(copies[task.files[task.queries]].max()) + 1)
    found = task.indexed[neighbours(vectors[task.queries], vectors[task.indexed], depth)]
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
