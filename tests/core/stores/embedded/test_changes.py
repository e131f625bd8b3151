"""Whatever is changed in whatever order, a collection answers as a dictionary that is searched by brute force."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cbir.filters.parser import parse_filter
from cbir.index.open_logs import OpenLogs
from cbir.progress import silent
from cbir.records import Point, digest
from cbir.settings import Settings
from cbir.stores.base import SearchParams, Store
from cbir.stores.embedded.catalog import EmbeddedCatalog
from cbir.stores.registry import connect
from tests.support.building import MODEL_FILE, build, plan_for, points_of, unit_vectors

COUNT, NEW = 40, 24
VECTORS = unit_vectors(COUNT + NEW, seed=5)
POINTS = points_of(VECTORS)
QUERIES = unit_vectors(4, seed=9)
EXACT = SearchParams(exact=True)
ENGINES = ("edge:{}", "faiss:{}/faiss", "faiss:{}/flat?index=Flat", "faiss:{}/codes?index=SQ8")

NUMBERS = st.lists(st.integers(0, COUNT + NEW - 1), min_size=1, max_size=12, unique=True)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["add", "replace", "delete", "update"]), NUMBERS),
        st.tuples(st.sampled_from(["publish", "publish", "merge", "kill", "reopen"]), st.just([])),
    ),
    min_size=4,
    max_size=24,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of 40 points with all engines."""
    root = tmp_path_factory.mktemp("changed") / "index"
    build([engine.format(root) for engine in ENGINES], VECTORS[:COUNT])
    return root


def changed(number: int, version: str) -> Point:
    """Return another state of a point: its vector, payload and thumbnail are others."""
    (vector,) = unit_vectors(1, seed=1000 * number + int(version))
    payload = {**POINTS[number].payload, "label": f"class {version}", "sha256": f"{number} {version}", "year": 2000}
    return Point(POINTS[number].id, vector, payload, version, version.encode(), digest(payload))


class Changing:
    """A collection that is changed, a dictionary that has the same changes, and one of what readers see."""

    def __init__(self, root: Path):
        self.root = root
        self.urls = [engine.format(root) for engine in ENGINES]
        self.published = {point.id: point for point in POINTS[:COUNT]}
        self.written = dict(self.published)
        self.versions = 0
        self.writer: Any = None
        self.catalogs: list[EmbeddedCatalog] = [connect(url, Settings()) for url in self.urls]  # type: ignore[misc]
        self.stores: list[Store] = [catalog.open("made") for catalog in self.catalogs]

    def open_writer(self) -> Any:
        if self.writer is None:
            self.writer = self.catalogs[0].writer(plan_for(VECTORS), MODEL_FILE)
        return self.writer

    def step(self, name: str, numbers: list[int]) -> None:
        self.versions += 1
        getattr(self, name)(numbers)

    def add(self, numbers: list[int]) -> None:
        self.open_writer().write([POINTS[number] for number in numbers])
        self.written |= {POINTS[number].id: POINTS[number] for number in numbers}

    def replace(self, numbers: list[int]) -> None:
        points = [changed(number, str(self.versions)) for number in numbers]
        self.open_writer().write(points)
        self.written |= {point.id: point for point in points}

    def delete(self, numbers: list[int]) -> None:
        ids = [POINTS[number].id for number in numbers]
        self.open_writer().delete(ids)
        for point_id in ids:
            self.written.pop(point_id, None)

    def update(self, numbers: list[int]) -> None:
        changes = {"label": f"class {self.versions}", "seen": True}
        ids = [POINTS[number].id for number in numbers]
        self.open_writer().update(ids, changes)
        for point_id in ids:
            if before := self.written.get(point_id):
                self.written[point_id] = replace(before, payload={**before.payload, **changes})

    def publish(self, numbers: list[int]) -> None:
        writer = self.open_writer()
        if writer.needs_publishing:
            writer.publish(silent)
        self.published = dict(self.written)
        self.check()

    def kill(self, numbers: list[int]) -> None:
        """Leave what was written unpublished; the next writer continues it."""
        if self.writer is not None:
            self.writer.close()
            self.writer = None
        self.check()

    def merge(self, numbers: list[int]) -> None:
        self.catalogs[0].optimize("made")
        self.check()

    def reopen(self, numbers: list[int]) -> None:
        for store in self.stores:
            store.close()
        for catalog in self.catalogs:
            catalog._logs = OpenLogs(self.root)
        self.stores = [catalog.open("made") for catalog in self.catalogs]
        self.check()

    def check(self) -> None:
        pairs = zip(self.catalogs, self.stores, strict=True)
        self.stores = [catalog.open("made", store) for catalog, store in pairs]
        for store in self.stores:
            require_same(store, self.published)
        assert self.catalogs[0].verify("made") == []

    def close(self) -> None:
        self.kill([])
        for store in self.stores:
            store.close()


def require_same(store: Store, expected: dict[str, Point]) -> None:
    """Require that a store holds exactly these points, and finds them as brute force does."""
    found = {point.id: point for point in store.points()}
    assert {name: dict(point.payload) for name, point in found.items()} == {
        name: dict(point.payload) for name, point in expected.items()
    }
    assert store.info.count == store.count() == len(expected)
    assert [entry.id for entry in store.scroll(limit=1000)] == sorted(expected)
    labels = [point.payload["label"] for point in expected.values()]
    assert dict(store.facet("label")) == {label: labels.count(label) for label in set(labels)}
    ids = sorted(expected)
    vectors = np.array([expected[name].vector for name in ids]).reshape(-1, VECTORS.shape[1])
    for filter in ((), parse_filter("label=class 1"), parse_filter("label!=class 1")):
        matching = np.array([_meets(expected[name], filter) for name in ids], bool)
        scores = np.where(matching, QUERIES @ vectors.T, -9)
        for hits, row in zip(store.search(QUERIES, 10, params=EXACT, filter=filter), scores, strict=True):
            best = np.sort(row[matching])[::-1][:10]
            assert np.allclose([hit.score for hit in hits], best, atol=1e-5)
            assert all(abs(row[ids.index(hit.id)] - hit.score) < 1e-5 for hit in hits)
            assert all(dict(hit.payload) == dict(expected[hit.id].payload) for hit in hits)
    for hits in store.search(QUERIES, 10):
        assert len({hit.id for hit in hits}) == min(10, len(expected))
        assert all(dict(hit.payload) == dict(expected[hit.id].payload) for hit in hits)


def _meets(point: Point, filter: Any) -> bool:
    return all(
        condition.accepts(point.payload["label"]) != getattr(condition, "negated", False) for condition in filter
    )


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_any_sequence_of_changes_answers_as_brute_force_over_a_dictionary(
    steps: list[tuple[str, list[int]]], made: Path, tmp_path: Path
) -> None:
    root = tmp_path / "index"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(made, root)
    collection = Changing(root)
    try:
        for name, numbers in steps:
            collection.step(name, numbers)
        collection.publish([])
        collection.merge([])
        collection.reopen([])
    finally:
        collection.close()
