"""The recall of a quantized index: measured with a sample of its points when it is built or filled."""

import logging
import re
from collections.abc import Callable, Iterable, Mapping

from cbir.records import Hit, Vector
from cbir.stores.base import DEFAULT_PARAMS, SearchParams

SAMPLED = 50
_NEAREST = 10
_LOW = 0.9
_EXACT = SearchParams(exact=True)
_QUANTIZED = re.compile("PQ|SQ(?!fp16|bf16)|RaBitQ|LSH|ITQ|LSQ|RQ")

log = logging.getLogger(__name__)


def is_quantized(options: Mapping[str, str]) -> bool:
    """Return True if an index with these options compares shortened vectors."""
    return options.get("quantization", "none") != "none" or bool(_QUANTIZED.search(options.get("index", "")))


def sample_recall(
    search: Callable[[Vector, int, SearchParams], list[list[Hit]]], points: Iterable[tuple[str, Vector]]
) -> float:
    """Return which part of the exact neighbours of stored points, (id, vector), an ordinary search finds.

    A point is no neighbour of itself.
    """
    found = expected = 0
    for point_id, vector in points:
        exact, hits = (
            {hit.id for hit in search(vector[None], _NEAREST + 1, params)[0]} - {point_id}
            for params in (_EXACT, DEFAULT_PARAMS)
        )
        found, expected = found + len(exact & hits), expected + len(exact)
    return found / expected if expected else 1.0


def report_recall(index: str, recall: float) -> None:
    """Log the recall of an index, with a warning if it is low."""
    text = f"{index} finds {recall:.2f} of the {_NEAREST} nearest images, in a sample of {SAMPLED}"
    if recall < _LOW:
        log.warning("warning: %s. Use a larger oversampling or another quantization.", text)
    else:
        log.info("%s", text)
