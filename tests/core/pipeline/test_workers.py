"""The workers: an item never shares the fate of its batch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cbir.models.embedder import Embedder
from cbir.pipeline.workers import Embedding, embed_all
from cbir.records import Item, Point
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source
from tests.support.ingesting import some_images


@pytest.fixture
def photos(photo_folder: Path, tmp_path: Path) -> Path:
    """A folder of 24 images that a test may change."""
    return some_images(photo_folder, tmp_path / "photos", 24)


class HalfBlind:
    """A model whose every third vector is not finite."""

    def __init__(self, embedder: Embedder):
        self._embedder = embedder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._embedder, name)

    def run(self, pixels: np.ndarray) -> np.ndarray:
        vectors = self._embedder.run(pixels).copy()
        vectors[::3] = np.nan
        return vectors


def test_one_bad_item_leaves_the_others_of_its_batch_as_they_are(photos: Path, embedder: Embedder) -> None:
    items = list(open_source(str(photos), SourceOptions()).items)

    def points(items: list[Item], model: Any, batch: int) -> dict[str, Point]:
        embedding = Embedding(model, "set", lambda identity, version, sha256: False, 40)
        results = list(embed_all(items, embedding, 2, batch))
        assert sum(result.read for result in results) == len(items)
        assert sum(len(result.points) + len(result.failures) for result in results) == len(items)
        return {str(point.payload["key"]): point for result in results for point in result.points}

    clean = points(items, embedder, 6)
    assert len(clean) == 24
    for at in range(6):
        bad = [*items[:at], Item(items[at].key, lambda: b"broken"), *items[at + 1 :]]
        rest = points(bad, embedder, 6)
        assert set(rest) == set(clean) - {items[at].key}
        assert all(float(rest[key].vector @ clean[key].vector) > 0.99999 for key in rest)
    assert set(points(items, HalfBlind(embedder), 6)) == {item.key for at, item in enumerate(items) if at % 6 % 3}


def test_a_key_that_comes_twice_is_stored_once_and_said(photos: Path, embedder: Embedder) -> None:
    items = list(open_source(str(photos), SourceOptions()).items)[:5]
    embedding = Embedding(embedder, "set", lambda identity, version, sha256: False, 40)
    results = list(embed_all([*items, items[0]], embedding, 2, 2))
    assert sum(len(result.points) for result in results) == 5
    assert [one.reason for result in results for one in result.failures] == [
        "another image of this run has the same key (choose another --key)"
    ]
