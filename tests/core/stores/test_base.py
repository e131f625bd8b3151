"""One contract for all stores: every answer equals the answer of a plain scan in NumPy."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cbir.collection import Collection
from cbir.errors import CbirError, UsageError
from cbir.filters.conditions import Filter, Match, Range, matches, values_of
from cbir.filters.parser import parse_filter
from cbir.records import digest
from cbir.stores.base import SearchParams, Store
from cbir.stores.registry import connect_all, open_store
from tests.support import clusters
from tests.support.building import DIMENSION, plan_for, unit_vectors
from tests.support.contract import (
    BY_ID,
    COUNT,
    EXACT,
    INDEXES,
    KINDS,
    NOBODY,
    POINTS,
    SERVERS,
    SETTINGS,
    VECTORS,
    WIDE,
    fast,
    fill_folder,
    scan,
    servers,
)

FIELDS = ("label", "year", "price", "tags", "new", "mixed", "two words", "absent")


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, contract_stores: dict[str, Store]) -> Store:
    return contract_stores[request.param]


values = st.sampled_from(["Shoes", "Bags", "red", "long, wide", "1", "a 1", "", 1, 1.0, 2012, 3.0, True, False, None])


numbers = st.none() | st.sampled_from([0, 1, 2.5, 3, 2011, 2012.0, 5000])


conditions = st.one_of(
    st.builds(Match, st.sampled_from(FIELDS), st.lists(values, max_size=3).map(tuple), st.booleans()),
    st.builds(Range, st.sampled_from(FIELDS), numbers, numbers, numbers, numbers),
)


filters = st.lists(conditions, max_size=3).map(tuple)


@fast
@given(seed=st.integers(0, 10_000), k=st.integers(1, COUNT + 5), filter=filters, exact=st.booleans())
def test_a_filtered_search_finds_the_best_that_hold(
    store: Store, seed: int, k: int, filter: Filter, exact: bool
) -> None:
    query = unit_vectors(1, seed)
    best = scan(query[0], filter)[:k]
    found = store.search(query, k, params=SearchParams(ef=COUNT, exact=exact), filter=filter)[0]
    assert all(matches(hit.payload, filter) for hit in found)
    assert np.allclose([hit.score for hit in found], [-score for score, _ in best], atol=1e-4)
    assert [hit.payload for hit in found] == [BY_ID[hit.id].payload for hit in found]


NUMBER = np.arange(clusters.COUNT) % 97


@pytest.mark.parametrize("params", [SearchParams(nprobe=24), SearchParams(ef=1, nprobe=1, exact=True)])
@pytest.mark.parametrize(
    ("filter", "chosen"),
    [
        ("", NUMBER >= 0),
        ("cluster>=20", clusters.CLUSTER >= 20),  # without the clusters of the queries
        ("cluster>20 and number<=90", (clusters.CLUSTER > 20) & (NUMBER <= 90)),
        ("cluster<20 and cluster!=3", (clusters.CLUSTER < 20) & (clusters.CLUSTER != 3)),
        ("number=5|7", (NUMBER == 5) | (NUMBER == 7)),
        ("group!=group 7", np.arange(clusters.COUNT) % 211 != 7),
    ],
)
def test_a_graph_finds_what_brute_force_finds(
    graph_store: Store, filter: str, chosen: np.ndarray, params: SearchParams
) -> None:
    """The queries are in the clusters below 20, some of them at exact copies, others between the points."""
    k, slow = 10, graph_store.info.url.startswith("http")
    assert slow or graph_store.info.access in ("graph", "ivf")
    places = np.flatnonzero(clusters.CLUSTER < 20)[:: 450 if slow else 50]
    noise = unit_vectors(len(places), 1, clusters.DIMENSION) * (np.arange(len(places)) % 2)[:, None]
    queries = clusters.VECTORS[places] + 0.5 * noise
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    scores = queries @ clusters.VECTORS.T
    position = {point.id: i for i, point in enumerate(clusters.POINTS)}
    worst = np.sort(scores[:, chosen], axis=1)[:, -k]
    found = graph_store.search(queries, k, params=params, filter=parse_filter(filter) if filter else ())
    for row, hits in enumerate(found):
        assert len({hit.id for hit in hits}) == k
        assert all(chosen[position[hit.id]] for hit in hits)
        assert [(-hit.score, hit.id) for hit in hits] == sorted((-hit.score, hit.id) for hit in hits)
        assert np.allclose([hit.score for hit in hits], [scores[row, position[hit.id]] for hit in hits], atol=1e-5)
    right = [hit.score > worst[row] - 1e-5 for row, hits in enumerate(found) for hit in hits]
    assert np.mean(right) >= (1 if params.exact else 0.95)


def test_faiss_scans_the_matching_points_that_its_walk_does_not_reach(graph_stores: dict[str, Store]) -> None:
    queries, store = clusters.VECTORS[clusters.CLUSTER == 0][::20], graph_stores["faiss"]
    far = parse_filter("cluster>=20")
    narrow, exact = (store.search(queries, 10, params=params, filter=far) for params in (SearchParams(ef=1), EXACT))
    assert [len(hits) for hits in narrow] == [10] * len(queries)
    assert narrow == exact


@fast
@given(seed=st.integers(0, 10_000), k=st.integers(1, COUNT + 5), low=st.floats(-1, 1))
def test_a_lowest_score(store: Store, seed: int, k: int, low: float) -> None:
    query = unit_vectors(1, seed)
    good = [-score for score, _ in scan(query[0], ()) if abs(-score - low) > 1e-4]
    low = min((score for score in good if score >= low), default=1.0) - 1e-5
    expected = [score for score in good if score >= low][:k]
    found = store.search(query, k, params=EXACT, min_score=low)[0]
    assert np.allclose([hit.score for hit in found], expected, atol=1e-4)


def test_several_queries_have_one_filter(store: Store) -> None:
    filter = parse_filter("label=Bags and year>=2012")
    queries = unit_vectors(5, 9)
    for query, hits in zip(queries, store.search(queries, 7, params=WIDE, filter=filter), strict=True):
        assert [hit.id for hit in hits] == [point_id for _, point_id in scan(query, filter)[:7]]


@settings(fast, max_examples=10)
@given(filter=filters)
def test_counts_and_facets(store: Store, filter: Filter) -> None:
    those = [point for point in POINTS if matches(point.payload, filter)]
    assert store.count(filter) == len(those)
    for field in ("label", "year", "price", "tags", "new", "two words", "absent"):
        expected = Counter(value for point in those for value in set(values_of(point.payload, field)))
        shown = store.facet(field, filter, COUNT)
        assert dict(shown) == expected
        assert shown == sorted(shown, key=lambda pair: (-pair[1], str(pair[0])))
        assert store.facet(field, filter, limit=2) == shown[:2]


@pytest.mark.parametrize("field", ["group", "number"])
def test_a_facet_of_many_values_is_cut_among_equal_counts(graph_store: Store, field: str) -> None:
    counts = Counter(point.payload[field] for point in clusters.POINTS)
    expected = sorted(counts.items(), key=lambda pair: (-pair[1], str(pair[0])))
    for limit in (1, 10, 80, 500):
        assert graph_store.facet(field, limit=limit) == expected[:limit]


def test_fields_are_named_with_what_they_hold(store: Store) -> None:
    found = store.fields()
    expected = {
        "label": "text",
        "mixed": "text",
        "new": "truth",
        "price": "number",
        "tags": "text",
        "two words": "text",
        "year": "number",
    }
    assert list(found.items()) == list(expected.items())


@fast
@given(filter=filters, limit=st.integers(30, 150))
def test_scrolling_meets_every_point_once_in_order(store: Store, filter: Filter, limit: int) -> None:
    found, after = [], None
    while page := store.scroll(filter, after, limit):
        assert len(page) <= limit
        found += page
        after = page[-1].id
    assert [entry.id for entry in found] == sorted(point.id for point in POINTS if matches(point.payload, filter))
    assert all(entry.payload == BY_ID[entry.id].payload for entry in found)


def test_scrolling_goes_on_behind_an_id_that_is_not_there(store: Store) -> None:
    assert [entry.id for entry in store.scroll(after=NOBODY, limit=3)] == sorted(BY_ID)[:3]
    with pytest.raises(CbirError):
        store.scroll(after="no id")


def test_vectors_come_in_the_order_asked_for(store: Store) -> None:
    requested = [POINTS[5].id, NOBODY, POINTS[2].id]
    first, none, second = store.vectors(requested)
    assert none is None
    assert first == pytest.approx(VECTORS[5], abs=1e-6)
    assert second == pytest.approx(VECTORS[2], abs=1e-6)
    assert store.vectors([]) == []


def test_payloads_and_thumbnails_come_in_the_order_asked_for(store: Store) -> None:
    requested = [POINTS[5].id, NOBODY, POINTS[2].id]
    assert store.payloads(requested) == [POINTS[5].payload, None, POINTS[2].payload]
    assert store.thumbnails(requested) == [POINTS[5].thumbnail, None, POINTS[2].thumbnail]
    assert store.payloads([]) == store.thumbnails([]) == []


def test_a_field_that_no_store_can_ask_for(store: Store) -> None:
    if store.info.url.startswith("faiss"):
        assert store.count((Match('a"b', (1,)),)) == 0
    else:
        with pytest.raises(UsageError, match="quotation mark"):
            store.search(VECTORS[:1], 1, filter=(Match('a"b', (1,)),))


@pytest.mark.parametrize("kind", ["edge", "faiss", *SERVERS])
def test_points_are_deleted_and_changed_by_filter_and_by_id(kind: str, tmp_path: Path) -> None:
    with servers() as places:
        url, name = INDEXES.get(kind, "").format(root=tmp_path / "index"), "made"
        if kind in places:
            places[kind].fill()
            url, name = places[kind].url, places[kind].plan.collection
        else:
            fill_folder([url])
        made = Collection(connect_all([url], SETTINGS), name, SETTINGS)
        bags = parse_filter("label=Bags")
        removed = [point.id for point in POINTS if matches(point.payload, bags)]
        assert made.delete(ids=[POINTS[0].id, NOBODY], filter=bags) == len({*removed, POINTS[0].id})
        new = {"label": "Boots", "year": None, "fresh": 1}
        assert made.update(new, ids=[POINTS[0].id], filter=parse_filter("label=Shoes")) > 0
        store = open_store(url, name, SETTINGS)
        left = [point for point in POINTS if point.id not in {*removed, POINTS[0].id}]
        expected = {
            point.id: {name: value for name, value in {**point.payload, **new}.items() if name != "year"}
            if point.payload["label"] == "Shoes"
            else point.payload
            for point in left
        }
        assert {entry.id: entry.payload for entry in store.scroll()} == expected
        assert store.vectors([removed[0]]) == [None]
        assert store.count(parse_filter("label=Boots and fresh=1")) == store.count(parse_filter("fresh=1")) > 0
        for point in left[:20]:
            hit = store.search(point.vector[None], 1, params=WIDE)[0][0]
            assert (hit.id, hit.payload) == (point.id, expected[point.id])
        for point in store.points():
            before = BY_ID[point.id]
            same = expected[point.id] == before.payload
            assert (point.version, point.thumbnail) == (before.version, before.thumbnail)
            assert point.digest == (before.digest if same else digest(expected[point.id]))
        store.close()
        with pytest.raises(UsageError, match="say which points"):
            made.delete()
        with pytest.raises(UsageError, match="cannot be changed"):
            made.update({"key": "x"}, ids=[left[0].id])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000), queries=st.integers(1, 4), k=st.integers(1, COUNT + 5), exact=st.booleans())
def test_hits_are_the_best_in_order(store: Store, seed: int, queries: int, k: int, exact: bool) -> None:
    query = unit_vectors(queries, seed)
    before = query.copy()
    found = store.search(query, k, params=SearchParams(exact=exact))
    assert np.array_equal(query, before), "the caller's array was changed"
    assert len(found) == queries
    for vector, hits in zip(query, found, strict=True):
        assert len({hit.id for hit in hits}) == len(hits)
        assert [(-hit.score, hit.id) for hit in hits] == sorted((-hit.score, hit.id) for hit in hits)
        for hit in hits:
            assert hit.score == pytest.approx(float(vector @ BY_ID[hit.id].vector), abs=1e-5)
            assert hit.payload == BY_ID[hit.id].payload
        if exact:
            best = np.sort(VECTORS @ vector)[::-1][:k]
            assert np.allclose([hit.score for hit in hits], best, atol=1e-5)


@pytest.mark.parametrize("params", [SearchParams(), EXACT])
def test_no_vectors_have_no_hits(store: Store, params: SearchParams) -> None:
    none = np.empty((0, DIMENSION), np.float32)
    for filter in ((), parse_filter("label=Bags")):
        assert store.search(none, 3, params=params, filter=filter) == []


def test_copies_come_by_id(store: Store) -> None:
    hits = store.search(VECTORS[397:398], 3, params=EXACT)[0]
    assert [hit.id for hit in hits] == sorted(POINTS[number].id for number in (397, 398, 399))


def test_what_is_stored_comes_back(store: Store) -> None:
    for point in POINTS[:20]:
        (vector,) = store.vectors([point.id])
        assert vector is not None
        assert np.allclose(vector, point.vector, atol=1e-6)
    requested = [POINTS[3].id, NOBODY, POINTS[1].id]
    assert store.thumbnails(requested) == [POINTS[3].thumbnail, None, POINTS[1].thumbnail]
    assert store.thumbnails([]) == []


def test_the_matrix_holds_every_vector(store: Store) -> None:
    ids, vectors = store.matrix()
    assert set(ids) == set(BY_ID)
    assert np.allclose(vectors, [BY_ID[point_id].vector for point_id in ids], atol=1e-6)


def test_a_sample_is_random_but_repeatable(store: Store) -> None:
    assert store.sample(10, 1) == store.sample(10, 1) != store.sample(10, 2)
    assert len(set(store.sample(COUNT + 100, 3))) == COUNT


def test_the_store_says_what_it_holds(store: Store) -> None:
    assert store.info.count == COUNT
    assert store.info.collection == "made" or store.info.collection.startswith("cbir-test-")
    assert store.info.model == plan_for(VECTORS).model


@pytest.mark.parametrize(
    ("query", "k", "message"),
    [
        (np.zeros((1, DIMENSION + 1), np.float32), 3, "dimensions"),
        (np.zeros(DIMENSION, np.float32), 3, "dimensions"),
        (np.full((1, DIMENSION), np.nan, np.float32), 3, "not finite"),
        (np.ones((1, DIMENSION), np.float32), 0, "at least 1"),
    ],
)
def test_a_wrong_query_is_refused(store: Store, query: np.ndarray, k: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        store.search(query, k)
