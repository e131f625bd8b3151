"""Zero-shot labels: of some labels in words, the one that fits each image best.

The cosines of an image to all labels, times the scale of the text tower, go through a softmax (Radford et al., Learning
Transferable Visual Models From Natural Language Supervision, 2021, section 3.1; https://arxiv.org/abs/2103.00020).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from cbir.errors import UsageError
from cbir.filters.conditions import Filter
from cbir.models.embedder import Embedder
from cbir.records import Vector
from cbir.search.query import entries
from cbir.stores.base import Store

PLACE = "{}"
_BATCH = 1000


@dataclass(frozen=True)
class ZeroShotLabel:
    """The label that fits an image best.

    Example:
        >>> found = photos.classify(["a face", "a flag"], filter="label=Flags")
        >>> sum(image.label == "a flag" for image in found) > len(found) / 2
        True

    Attributes:
        id: The image's id.
        key: Its key.
        label: The label.
        score: Its share of the softmax over all labels, from 0 to 1.
    """

    id: str
    key: str
    label: str
    score: float


def label_vectors(labels: Sequence[str], template: str | None, embedder: Embedder) -> Vector:
    """Return the unit vectors (n, D) of labels put into a template, None for that of the text tower.

    Raises:
        UsageError: There are fewer than two labels or one twice, the template has no place for one, or a text is bad.
    """
    if isinstance(labels, str) or len(labels) < 2 or len(set(labels)) < len(labels):
        raise UsageError("give at least two labels, each of them once, such as ['cat', 'dog']")
    template = embedder.text_tower.card.template if template is None else template
    if PLACE not in template:
        raise UsageError(f"the template {template!r} has no {PLACE} where a label goes, as in 'a photo of a {PLACE}'")
    return embedder.embed_text([_filled(template, label) for label in labels])


def _filled(template: str, label: str) -> str:
    """Return a template with a label in it. What is no label stays as it is: the text tower refuses it."""
    return template.replace(PLACE, label) if isinstance(label, str) and label.strip() else label


def classified(
    store: Store, filter: Filter, labels: Sequence[str], texts: Vector, scale: float
) -> Iterator[ZeroShotLabel]:
    """Yield the best label of every point that matches the filter, in the order of ids. `texts` are their vectors."""
    points = entries(store, filter)
    while batch := list(islice(points, _BATCH)):
        vectors = store.vectors([point.id for point in batch])
        for point, vector in zip(batch, vectors, strict=True):
            if vector is None:  # just deleted
                continue
            logits = scale * (texts @ vector)
            shares = np.exp(logits - logits.max())
            best = int(shares.argmax())
            yield ZeroShotLabel(point.id, str(point.payload["key"]), labels[best], float(shares[best] / shares.sum()))
