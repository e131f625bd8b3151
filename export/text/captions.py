"""Captions as numbers of texts, and shorter ones made of their words, so that a tower also learns single words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_VARIATIONS = 6

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CaptionTexts:
    """Different texts, and the captions of images as their numbers: of each image its own, and shorter ones."""

    texts: list[str]
    own: list[list[int]]
    shorter: Numbers


def number_texts(captions: Sequence[Sequence[str]], seed: int) -> CaptionTexts:
    """Return the texts that a training on these captions needs."""
    numbers: dict[str, int] = {}
    rng = np.random.default_rng(seed)

    def number(text: str) -> int:
        return numbers.setdefault(text, len(numbers))

    own = [[number(caption) for caption in of_image] for of_image in captions]
    shorter = [[number(text) for text in variations(of_image, rng)] for of_image in captions]
    return CaptionTexts(list(numbers), own, np.array(shorter))


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
