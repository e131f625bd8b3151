"""Captions as numbers of texts, and shorter ones made of their words, so that a tower also learns single words."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

_VARIATIONS = 6

Numbers = npt.NDArray[np.int64]


@dataclass
class TextTable:
    """Different texts, each with a number."""

    numbers: dict[str, int] = field(default_factory=dict)

    def number(self, text: str) -> int:
        """Return the number of a text, a new one for a new text."""
        return self.numbers.setdefault(text, len(self.numbers))


@dataclass(frozen=True)
class CaptionTexts:
    """The captions of images as numbers of texts: of each image all of its own, and as many shorter ones."""

    table: TextTable
    own: list[list[int]]
    shorter: Numbers


def number_texts(captions: Sequence[Sequence[str]], seed: int) -> CaptionTexts:
    """Return the texts that a training on these captions needs."""
    table, rng = TextTable(), np.random.default_rng(seed)
    own = [[table.number(caption) for caption in of_image] for of_image in captions]
    shorter = [[table.number(text) for text in variations(of_image, rng)] for of_image in captions]
    return CaptionTexts(table, own, np.array(shorter))


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
