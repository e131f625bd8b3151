"""The report of a collection's classes, against the definitions worked out by hand and by brute force."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cbir.evaluation import class_report as module
from cbir.evaluation.class_report import ClassReport, class_report
from cbir.progress import silent
from cbir.records import Point, Vector, digest
from cbir.settings import Settings
from cbir.stores.base import Store
from cbir.stores.registry import open_store
from tests.support.building import both, builder_for, points_of, unit_vectors

VECTORS = np.repeat(unit_vectors(150, 5), 2, axis=0)
VECTORS[1::2] = unit_vectors(150, 6)
VECTORS[1:60:2] = VECTORS[0:60:2]  # thirty images are stored twice


def made_points() -> list[Point]:
    chance = np.random.default_rng(8)
    points = []
    for number, point in enumerate(points_of(VECTORS)):
        label = "abc"[min(2, int(chance.exponential(0.9)))] if number != 299 else "alone"
        copied = number < 60
        payload: dict[str, Any] = {
            **point.payload,
            "label": label if number % 25 else None,
            "tags": ["red", "blue", "green"][: number % 3],
            "sha256": str(number // 2 if copied else number),
        }
        points.append(replace(point, payload=payload, digest=digest(payload)))
    return points


POINTS = made_points()


@pytest.fixture(scope="module", params=["edge", "faiss"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    stores = dict(zip(("edge", "faiss"), both(tmp_path_factory.mktemp("classes") / "index"), strict=True))
    builder = builder_for([stores[request.param]] if request.param == "edge" else list(stores.values()), VECTORS)
    builder.write(POINTS)
    builder.publish(silent)
    builder.close()
    opened = open_store(stores[request.param], "made", Settings())
    yield opened
    opened.close()


def neighbours(query: Point, k: int) -> list[Point]:
    others = [point for point in POINTS if point.payload["sha256"] != query.payload["sha256"]]
    return sorted(others, key=lambda point: (-float(point.vector @ query.vector), point.id))[:k]


def test_every_class_has_the_result_of_brute_force(store: Store) -> None:
    report = class_report(store, k=5)
    counts = Counter(point.payload["label"] for point in POINTS if point.payload["label"])
    assert [(result.value, result.points) for result in report.classes] == sorted(
        counts.items(), key=lambda item: (-item[1], item[0])
    )
    for result in report.classes:
        queries = sorted(
            (point for point in POINTS if point.payload["label"] == result.value), key=lambda point: point.id
        )
        queries = queries[:100]
        assert result.queries == len(queries)
        found = [[point.payload["label"] for point in neighbours(query, 5)] for query in queries]
        right = np.array([[label == result.value for label in labels] for labels in found])
        first = np.where(right.any(axis=1), 1 / (right.argmax(axis=1) + 1), 0)
        assert result.precision == pytest.approx(right.mean())
        assert result.hit_rate == pytest.approx(right.any(axis=1).mean())
        assert result.mrr == pytest.approx(first.mean())
        labels = Counter(label for some in found for label in some)
        assert dict(result.retrieved) == pytest.approx({label: n / labels.total() for label, n in labels.items()})
        assert list(result.retrieved.values()) == sorted(result.retrieved.values(), reverse=True)
        failing = [query for query, good in zip(queries, right, strict=True) if not good.all()]
        assert {query.id for query in result.failing} <= {query.id for query in failing}
        assert len(result.failing) == min(len(failing), module.FAILING)
        assert [query.precision for query in result.failing] == sorted(query.precision for query in result.failing)
        taken_for = {query.id: tuple(labels) for query, labels in zip(queries, found, strict=True)}
        assert all(query.taken_for == taken_for[query.id] for query in result.failing)
    weighted = sum(result.precision * result.points for result in report.classes) / sum(
        result.points for result in report.classes
    )
    assert report.precision == pytest.approx(weighted)


def test_a_class_of_one_image_is_never_found(store: Store) -> None:
    alone = class_report(store).classes[-1]
    assert (alone.value, alone.points, alone.queries) == ("alone", 1, 1)
    assert (alone.precision, alone.hit_rate, alone.mrr) == (0, 0, 0)
    assert len(alone.failing) == 1


@pytest.mark.parametrize(("most", "classes", "queries"), [(60, 4, 15), (4, 4, 1), (2, 2, 1)])
def test_the_work_is_bounded_and_reported(store: Store, most: int, classes: int, queries: int) -> None:
    progress: list[float] = []
    report = class_report(store, max_queries=most, on_progress=progress.append)
    assert len(report.classes) == classes
    assert max(result.queries for result in report.classes) == queries
    assert progress == sorted(progress)
    assert progress[-1] == pytest.approx(1)


def test_an_image_with_several_values_is_right_with_any_of_them(store: Store) -> None:
    report = class_report(store, "tags", k=3)
    assert {result.value for result in report.classes} == {"red", "blue"}
    by_id = {point.id: point for point in POINTS}
    for result in report.classes:
        for judged in result.failing:
            tags = [point.payload["tags"] for point in neighbours(by_id[judged.id], 3)]
            assert judged.precision == pytest.approx(sum(result.value in some for some in tags) / 3)


def test_the_search_is_wider_where_copies_fill_the_hits(tmp_path: Path) -> None:
    vectors: Vector = np.concatenate([np.repeat(unit_vectors(1), 40, axis=0), unit_vectors(20, 9)])
    points = []
    for number, point in enumerate(points_of(vectors)):
        payload = {**point.payload, "label": "only", "sha256": "copy" if number < 40 else str(number)}
        points.append(replace(point, payload=payload, digest=digest(payload)))
    url = f"faiss:{tmp_path}?index=Flat"
    builder = builder_for([url], vectors)
    builder.write(points)
    builder.publish(silent)
    builder.close()
    store = open_store(url, "made", Settings())
    report = class_report(store)
    assert report.precision == report.mrr == 1
    assert class_report(store, "absent") == ClassReport(5, [], 0, 0, 0)
