"""Collections and stores for tests of the bench: points of different kinds, and stores whose answers are altered."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from cbir.progress import silent
from cbir.records import Hit, Vector, digest
from cbir.stores.base import Store
from tests.support.building import builder_for, points_of, unit_vectors

COUNT = 600
KINDS = ["rare"] * 15 + ["common"] * 245 + ["other"] * 335 + ["single"] * 5
VECTORS = unit_vectors(COUNT)
VECTORS[7] = VECTORS[8] = VECTORS[9]


def mixed_kinds(count: int) -> list[str]:
    """Return a kind for each of some points, spread over all of them."""
    return [KINDS[number * 7 % len(KINDS)] for number in range(count)]


def build_kinds(urls: list[str], vectors: Vector, kinds: Sequence[str]) -> None:
    """Publish a collection whose points have a field `kind`."""
    points = []
    for point, kind in zip(points_of(vectors), kinds, strict=True):
        payload = {**point.payload, "kind": kind}
        points.append(replace(point, payload=payload, digest=digest(payload)))
    builder = builder_for(urls, vectors)
    try:
        builder.write(points)
        builder.publish(silent)
    finally:
        builder.close()


class AlteredStore:
    """A real store with other searches: `search` is called with the store and the arguments of `Store.search`."""

    def __init__(self, store: Store, search: Callable[..., list[list[Hit]]]):
        self._store, self._search = store, search

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def search(self, vectors: Vector, k: int, **options: Any) -> list[list[Hit]]:
        return self._search(self._store, vectors, k, **options)


def altered(store: Store, alter: Callable[[list[Hit]], list[Hit]]) -> Any:
    """Return a store whose hits of each query are altered on the way out."""

    def search(store: Store, vectors: Vector, k: int, **options: Any) -> list[list[Hit]]:
        return [alter(hits) for hits in store.search(vectors, k, **options)]

    return AlteredStore(store, search)
