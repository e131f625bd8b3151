"""Searches whose examples are ready, so that they need only the store: answered together where they are alike."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from cbir.collection import Collection
from cbir.results import Hits
from cbir.search.examples import Clock, QueryImage

from .bodies import SearchBody
from .metrics import Metrics

Weighted = tuple[QueryImage, float]
_SHARED = ("limit", "filter", "min_score", "exact", "ef", "nprobe")
"""The options of `Collection.search_batch`."""


class ReadySearch:
    """A search whose examples are ids and vectors, so that it needs only the store."""

    def __init__(self, body: SearchBody, positives: Sequence[Weighted], negatives: Sequence[Weighted], clock: Clock):
        self.body, self.positives, self.negatives, self.clock = body, positives, negatives, clock

    @property
    def is_plain(self) -> bool:
        """True for a search for nothing but the best hits of one vector."""
        body = self.body
        special = body.offset or body.expand or body.diversity or body.group_by
        return (
            not special
            and not self.negatives
            and len(self.positives) == 1
            and isinstance(self.positives[0][0], np.ndarray)
        )

    def answer(self, collection: Collection) -> dict[str, Any]:
        """Return the hits as plain values."""
        body = self.body
        hits = collection.search(
            like=self.positives,
            unlike=self.negatives,
            limit=body.limit,
            offset=body.offset,
            filter=body.filter,
            min_score=body.min_score,
            expand=body.expand,
            diversity=body.diversity,
            group_by=body.group_by,
            group_size=body.group_size,
            exact=body.exact,
            ef=body.ef,
            nprobe=body.nprobe,
        )
        answer = self.described(hits, collection)
        if body.group_by:
            answer["groups"] = [{"value": group.value, "ids": [hit.id for hit in group.hits]} for group in hits.groups]
        return answer

    def described(self, hits: Hits, collection: Collection) -> dict[str, Any]:
        """Return hits of this search, and the time of each stage, as plain values."""
        body = self.body
        found: list[dict[str, Any]] = [{"id": hit.id, "score": hit.score} for hit in hits]
        if body.with_payload:
            for described, hit in zip(found, hits, strict=True):
                described["payload"] = hit.payload
        if body.with_vector:
            for described, vector in zip(found, collection.store.vectors([hit.id for hit in hits]), strict=True):
                described["vector"] = vector
        return {"hits": found, "milliseconds": self.clock.milliseconds | hits.milliseconds}


Search = tuple[Collection, ReadySearch]
"""A search and where to search."""


def several(searches: Sequence[Search]) -> list[dict[str, Any]]:
    """Return the answers to searches. Those that differ only in their vectors are one call of the engine."""
    answers: dict[int, dict[str, Any]] = {}
    together: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for i, (collection, search) in enumerate(searches):
        if search.is_plain:
            together[collection, *(getattr(search.body, name) for name in _SHARED)].append(i)
        else:
            answers[i] = search.answer(collection)
    for (collection, *options), numbers in together.items():
        vectors = [searches[i][1].positives[0][0] for i in numbers]
        found = collection.search_batch(vectors, **dict(zip(_SHARED, options, strict=True)))
        answers |= {i: searches[i][1].described(hits, collection) for i, hits in zip(numbers, found, strict=True)}
    return [answers[i] for i in range(len(searches))]


def encoded(metrics: Metrics, searches: Sequence[Search]) -> list[bytes]:
    """Return the answers to searches as JSON, and count the time of their stages."""
    answers = several(searches)
    for answer in answers:
        metrics.record(answer["milliseconds"])
    return [to_json(answer) for answer in answers]


def to_json(value: dict[str, Any]) -> bytes:
    """Return an answer as JSON; NumPy arrays become lists."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
