"""Searches that differ only in their vectors are one call of the engine."""

from pathlib import Path

import numpy as np
import pytest
from cbir.serve.answering import ReadySearch, several
from cbir.serve.bodies import SearchBody

import cbir
from cbir.search.examples import Clock


def ready(vector: np.ndarray, **options: object) -> ReadySearch:
    return ReadySearch(SearchBody(vector=[1.0], **options), [(vector, 1.0)], [], Clock())


def test_plain_searches_are_told_from_others(photos: cbir.Collection) -> None:
    vector = photos.vectors()[0]
    assert ready(vector, limit=3, filter="label=Flags", ef=64).is_plain
    assert not ready(vector, offset=1).is_plain
    assert not ready(vector, diversity=0.5).is_plain
    assert not ready(vector, expand=3).is_plain
    assert not ready(vector, group_by="label").is_plain
    assert not ReadySearch(SearchBody(), [(vector, 1.0), (vector, 1.0)], [], Clock()).is_plain
    assert not ReadySearch(SearchBody(), [(vector, 1.0)], [(vector, 1.0)], Clock()).is_plain
    assert not ReadySearch(SearchBody(), [("id", 1.0)], [], Clock()).is_plain


def test_alike_searches_are_one_call(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with cbir.open(f"faiss:{index}/faiss") as photos:
        vectors = photos.vectors()[:6]
        searches = [ready(vector, limit=3) for vector in vectors[:4]] + [
            ready(vectors[4], limit=2),
            ready(vectors[5], limit=3),
        ]
        expected = [
            photos.search(vector, limit=search.body.limit) for vector, search in zip(vectors, searches, strict=True)
        ]
        sizes = []
        batched = photos.store.search
        monkeypatch.setattr(
            photos.store, "search", lambda queries, *a, **o: (sizes.append(len(queries)), batched(queries, *a, **o))[1]
        )
        results = several([(photos, search) for search in searches])
    assert sorted(sizes) == [1, 5]
    assert [[hit["id"] for hit in result["hits"]] for result in results] == [
        [hit.id for hit in hits] for hits in expected
    ]
