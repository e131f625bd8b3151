"""Recall against speed of real stores, and of stores that are made wrong on purpose."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cbir.bench.core.metrics import Summary
from cbir.bench.core.timing import spread, times
from cbir.bench.core.workload import Workload, open_workload, workload_of
from cbir.bench.latency.measure import Curve, Point, at_rates, choose_classes, mark_front, measure
from hypothesis import given
from hypothesis import strategies as st

from cbir.errors import CbirError
from cbir.filters.conditions import Filter, Match
from cbir.records import Hit, Vector
from cbir.settings import Settings
from cbir.stores.base import DEFAULT_PARAMS, SearchParams, Store
from tests.support.bench_stores import AlteredStore
from tests.support.building import both


def measured(workload: Workload, wanted: Sequence[int] = (128,), rounds: int = 2) -> list[Curve]:
    classes = choose_classes(workload, "kind")
    curves, noise = measure(workload, wanted, classes, [1, 2], rounds)
    assert 0 < noise.kernel_ms.low <= noise.kernel_ms.value <= noise.kernel_ms.high
    return curves


def altered_workload(store: Store, search: Any) -> Workload:
    stores: list[Any] = [AlteredStore(store, search)]
    return workload_of(stores, 5, 40, 1)


def mean_of(recall: Summary | None) -> float:
    assert recall is not None and recall.mean is not None
    return recall.mean


def test_the_classes_are_those_nearest_to_the_shares(store: Store) -> None:
    workload = workload_of([store], 5, 40, 1)
    classes = choose_classes(workload, "kind")
    points = [(name, len(part.truth.position)) for name, part in classes.items()]
    assert points == [("kind=rare", 15), ("kind=common", 245)]
    assert classes["kind=rare"].filter == (Match("kind", ("rare",)),)
    few = choose_classes(workload_of([store], 20, 40, 1), "kind")
    assert list(few) == ["kind=common"], "15 are too few"
    assert choose_classes(workload, "nothing") == {}


def test_the_ground_truth_of_a_filter(store: Store) -> None:
    workload = workload_of([store], 5, 40, 1)
    for part in choose_classes(workload, "kind").values():
        ids = [point.id for point in store.scroll(part.filter)]
        assert set(part.truth.position) == set(ids)
        vectors = [vector for vector in store.vectors(ids) if vector is not None]
        for number, query in enumerate(workload.vectors):
            scores = np.sort([float(vector @ query) for vector in vectors])[::-1]
            assert part.truth.threshold[number] == pytest.approx(scores[4], abs=1e-6)


def test_real_stores(made: Path) -> None:
    with open_workload(both(made), None, 5, 40, 1, Settings()) as workload:
        curves = measured(workload)
    assert [(curve.parameter, curve.default) for curve in curves] == [("", None), ("ef", 128)]
    for curve in curves:
        (point,) = curve.points
        assert curve.default_point == point
        assert point.search_ms is not None
        assert [load.threads for load in point.loads] == [1, 2]
        for load in point.loads:
            assert load.searches_per_second.low > 0
            assert 0 < load.search_ms.median <= load.search_ms.p95 <= load.search_ms.p99
        assert mean_of(point.ann_recall_at_k) > 0.95
        assert point.raw_ms is not None
        assert point.ratio == point.search_ms.median / point.raw_ms.median
        assert [(part.filter, part.share) for part in point.filtered] == [
            ("kind=rare", 0.025),
            ("kind=common", pytest.approx(245 / 600)),
        ]
        for part in point.filtered:
            assert mean_of(part.ann_recall_at_k) > 0.95
            assert part.ratio == part.search_ms.median / point.search_ms.median


@pytest.mark.bench
def test_a_wider_search_finds_more(workload: Workload) -> None:
    for curve in measured(workload, [6, 24, 200]):
        narrow, middle, wide = curve.points
        assert (curve.parameter, [point.ef for point in curve.points]) == ("ef", [6, 24, 200])
        means = [mean_of(point.ann_recall_at_k) for point in (narrow, middle, wide)]
        assert means == sorted(means), "the same queries"
        assert means[0] < means[-1], "an ef that is not passed on changes nothing"
        assert wide.search_ms and wide.search_ms.samples == 60
        assert wide.search_ms.p999 is None, "60 searches have no p99.9"
        assert [load.threads for load in wide.loads] == [1, 2]
        assert len(wide.filtered) == 2
        assert wide.raw_ms and wide.ratio


def test_a_case_that_fails_has_the_reason_and_no_numbers(made: Path) -> None:
    def failing(
        store: Store, vectors: Vector, k: int, params: SearchParams = DEFAULT_PARAMS, **options: Any
    ) -> list[list[Hit]]:
        if params.ef == 40:
            raise CbirError("the server has stopped")
        return store.search(vectors, k, params=params, **options)

    with open_workload(both(made)[::-1], "made", 5, 30, 1, Settings()) as workload:
        stores: list[Any] = [AlteredStore(workload.stores[0], failing), workload.stores[1]]
        first, second = measured(replace(workload, stores=stores), [20, 40])
    assert first.failures == ["ef 40: the server has stopped"]
    assert [point.ef for point in first.points] == [20]
    assert first.default_point == first.points[0], "the default is nearer to the one that failed"
    assert ([point.ef for point in second.points], second.failures) == ([None], [])
    assert replace(first, points=[]).default_point is None


def test_a_filter_that_is_ignored_is_an_error(store: Store) -> None:
    workload = altered_workload(store, lambda store, vectors, k, **options: store.search(vectors, k))
    (curve,) = measured(workload)
    assert "returned a point twice, or one that was filtered out" in curve.failures[0]
    assert curve.points == []


def test_a_filtered_hit_that_is_lost_is_seen(store: Store) -> None:
    def lossy(store: Store, vectors: Vector, k: int, filter: Filter = (), **options: Any) -> list[list[Hit]]:
        found = store.search(vectors, k, filter=filter, params=SearchParams(exact=True))
        return [hits[1:] if filter else hits for hits in found]

    (curve,) = measured(altered_workload(store, lossy))
    (point,) = curve.points
    assert mean_of(point.ann_recall_at_k) == 1
    assert len(point.filtered) == 2
    for part in point.filtered:
        assert mean_of(part.ann_recall_at_k) < 0.9
    assert (point.raw_ms, point.ratio) == (None, None), "nothing is made up for a store that is not embedded"


def test_the_recall_is_that_of_the_timed_searches(store: Store) -> None:
    answered = [0]

    def worse_later(store: Store, vectors: Vector, k: int, **options: Any) -> list[list[Hit]]:
        answered[0] += 1
        found = store.search(vectors, k, params=SearchParams(exact=True))
        return [hits[:-1] if answered[0] > 60 else hits for hits in found]

    (curve,), _ = measure(altered_workload(store, worse_later), [], {}, [], 2)
    recall = curve.points[0].ann_recall_at_k
    assert recall.mean == pytest.approx((20 * 1 + 60 * 0.8) / 80), "40 to warm up, then two rounds of 40"
    assert recall.p5 == 0.8


def test_every_client_searches_its_share(store: Store) -> None:
    searched: list[bytes] = []

    def noting(store: Store, vectors: Vector, k: int, **options: Any) -> list[list[Hit]]:
        searched.extend(vector.tobytes() for vector in vectors)
        return store.search(vectors, k, **options)

    workload = altered_workload(store, noting)
    measure(workload, [], {}, [1, 3], 1)
    assert len(searched) == 4 * 40, "the warm-up, alone, and two loads"
    assert {searched.count(vector.tobytes()) for vector in workload.vectors} == {4}


def test_a_filtered_graph_finds_what_lies_apart(large: list[str]) -> None:
    """With so small an ef, a walk among the points of the class alone ends early: 0.9 of them."""
    with open_workload(large[:1], None, 10, 150, 1, Settings()) as workload:
        classes = choose_classes(workload, "kind")
        ((curve,), _) = measure(workload, [16], classes, [1], 1)
    (found,) = curve.points[0].filtered
    assert (curve.points[0].ef, found.filter, found.share) == (16, "kind=common", 0.4)
    assert mean_of(found.ann_recall_at_k) > 0.97


def point_at(recall: float, milliseconds: float) -> Point:
    summary, spent = Summary(recall, recall, recall), times([milliseconds])
    return Point(1, False, summary, spread([milliseconds]), spent, None, None, [], [])


@given(st.lists(st.tuples(st.sampled_from([0.5, 0.8, 0.9, 1.0]), st.sampled_from([1.0, 2.0, 4.0])), min_size=1))
def test_the_front_is_what_nothing_beats(places: list[tuple[float, float]]) -> None:
    marked = mark_front([point_at(*place) for place in places])
    for (recall, spent), point in zip(places, marked, strict=True):
        better = [(r, ms) for r, ms in places if r >= recall and ms <= spent and (r, ms) != (recall, spent)]
        assert point.on_front == (not better)
    assert any(point.on_front for point in marked)


def test_the_open_loop_is_that_of_the_best_closed_loop(made: Path) -> None:
    with open_workload(both(made)[1:], "made", 5, 30, 1, Settings()) as workload:
        (curve,) = measured(workload)
        found = at_rates(curve, workload, 0, 2, 0.1)
        assert curve.default_point is not None
        best = max(load.searches_per_second.value for load in curve.default_point.loads)
        assert found.rates[1].share * best == pytest.approx(found.rates[1].due_per_second, rel=0.1)
        assert at_rates(curve, workload, 0, 2, 0).rates == []
        assert at_rates(replace(curve, points=[]), workload, 0, 2, 0.1).rates == []


def test_the_fastest_point_at_a_recall() -> None:
    points = mark_front([point_at(0.5, 1), point_at(0.99, 4), point_at(1.0, 3)])
    curve = Curve("edge:a", "ef", 128, points, [])
    assert [point.on_front for point in points] == [True, False, True]
    assert (curve.fastest_at(0.99), curve.fastest_at(0.4), curve.fastest_at(1.1)) == (points[2], points[0], None)
