"""Captions: those of a source, and shorter ones made of their words, so that a tower also learns single words."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from cbir import terminal
from cbir.errors import UsageError
from cbir.evaluation.embeddings import embed_labelled
from cbir.models.embedder import Embedder
from cbir.records import Vector
from cbir.settings import Settings
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source

_VARIATIONS = 6


@dataclass(frozen=True)
class Captioned:
    """Unit vectors (n, D) of images, each with one or more captions."""

    vectors: Vector
    captions: Sequence[Sequence[str]]

    def at(self, rows: Sequence[int]) -> "Captioned":
        """Return some of the images."""
        return Captioned(self.vectors[rows], [self.captions[row] for row in rows])


@dataclass
class TextTable:
    """Different texts, each with a number."""

    numbers: dict[str, int] = field(default_factory=dict)

    def number(self, text: str) -> int:
        """Return the number of a text, a new one for a new text."""
        return self.numbers.setdefault(text, len(self.numbers))


def read_captioned(
    text: str, columns: Sequence[str], options: SourceOptions, embedder: Embedder, settings: Settings
) -> tuple[str, Captioned]:
    """Return a source's name, and its images that have a caption in one of the columns.

    Raises:
        UsageError: No image has a caption, or none can be used.
    """
    source = open_source(text, options)
    captions = {item.key: _captions(item.payload, columns) for item in source.items}
    items = [item for item in source.items if captions[item.key]]
    if not items:
        raise UsageError(
            f"{text} has no captions in {', '.join(columns)}. Name the column of the captions with --caption"
        )
    found = embed_labelled(source.name, items, embedder, settings, progress=terminal.progress)
    return source.name, Captioned(found.vectors, [captions[key] for key in found.keys])


def variations(captions: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Return six shorter captions made of words of these, in their order.

    Half of them are neighbouring words, and of these half are the last, which in English say what a thing is.
    """
    made = []
    for number in range(_VARIATIONS):
        words = captions[int(rng.integers(len(captions)))].split()
        count = 1 + number // 2 if number < 4 else int(rng.integers(1, max(2, len(words))))
        count = min(count, len(words))
        if rng.random() < 0.5:
            last = len(words) - count
            start = last if rng.random() < 0.5 else int(rng.integers(0, last + 1))
            chosen = words[start : start + count]
        else:
            chosen = [words[i] for i in np.sort(rng.choice(len(words), count, replace=False))]
        made.append(" ".join(chosen))
    return made


def _captions(payload: object, columns: Sequence[str]) -> list[str]:
    values = [payload.get(column) for column in columns] if isinstance(payload, dict) else []
    return [value.strip() for value in values if isinstance(value, str) and value.strip()]
