"""One contract for all stores: what any of them answers is what a plain scan in numpy answers."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbir.collection import Collection
from cbir.errors import CbirError, UsageError
from cbir.filters.conditions import Filter, Match, Range, matches, values_of
from cbir.filters.parser import parse_filter
from cbir.index.log_format import segment_path
from cbir.index.log_writer import LogWriter
from cbir.index.stored_ids import StoredIds
from cbir.index.vector_log import VectorLog
from cbir.progress import silent
from cbir.records import digest, id_bytes, with_changes
from cbir.settings import Settings
from cbir.stores.base import SearchParams, Store
from cbir.stores.embedded import edge, faiss_index
from cbir.stores.engines import ENGINES
from cbir.stores.registry import open_store
from tests.support.building import catalogs, plan_for, qdrant_writer, unit_vectors
from tests.support.contract import (
    BY_ID,
    COUNT,
    EXACT,
    INDEXES,
    KINDS,
    NOBODY,
    POINTS,
    VECTORS,
    WIDE,
    fast,
    fill_folder,
    scan,
)
from tests.support.qdrant_server import qdrant_server

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


@fast
@given(seed=st.integers(0, 10_000), k=st.integers(1, 50), offset=st.integers(0, COUNT + 5), low=st.floats(-1, 1))
def test_pages_and_a_lowest_score(store: Store, seed: int, k: int, offset: int, low: float) -> None:
    query = unit_vectors(1, seed)
    good = [-score for score, _ in scan(query[0], ()) if abs(-score - low) > 1e-4]
    low = min((score for score in good if score >= low), default=1.0) - 1e-5
    expected = [score for score in good if score >= low][offset : offset + k]
    found = store.search(query, k, params=EXACT, min_score=low, offset=offset)[0]
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
        assert shown == sorted(shown, key=lambda one: (-one[1], str(one[0])))
        assert [n for _, n in store.facet(field, filter, limit=2)] == [n for _, n in shown[:2]]


def test_fields_are_named_with_what_they_hold(store: Store) -> None:
    found = store.fields()
    mixed = found.pop("mixed")
    assert mixed == ("number" if store.info.url.startswith("http") else "text")  # a server has an index for the first
    expected = {
        "label": "text",
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
    assert [one.id for one in found] == sorted(point.id for point in POINTS if matches(point.payload, filter))
    assert all(one.payload == BY_ID[one.id].payload for one in found)


def test_scrolling_goes_on_behind_an_id_that_is_not_there(store: Store) -> None:
    assert [one.id for one in store.scroll(after=NOBODY, limit=3)] == sorted(BY_ID)[:3]
    with pytest.raises(CbirError):
        store.scroll(after="no id")


def test_vectors_come_in_the_order_asked_for(store: Store) -> None:
    asked = [POINTS[5].id, NOBODY, POINTS[2].id]
    first, none, second = store.vectors(asked)
    assert none is None
    assert first == pytest.approx(VECTORS[5], abs=1e-6)
    assert second == pytest.approx(VECTORS[2], abs=1e-6)
    assert store.vectors([]) == []


def test_payloads_and_thumbnails_come_in_the_order_asked_for(store: Store) -> None:
    asked = [POINTS[5].id, NOBODY, POINTS[2].id]
    assert store.payloads(asked) == [POINTS[5].payload, None, POINTS[2].payload]
    assert store.thumbnails(asked) == [POINTS[5].thumbnail, None, POINTS[2].thumbnail]
    assert store.payloads([]) == store.thumbnails([]) == []


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("label=Shoes|Bags", (Match("label", ("Shoes", "Bags")),)),
        ("year=2012", (Match("year", ("2012", 2012)),)),
        ("new=true and label!=Bags", (Match("new", ("true", True)), Match("label", ("Bags",), negated=True))),
        ("label=", (Match("label", ("", None)),)),
        ("year>=2012 and price<3.5", (Range("year", gte=2012.0), Range("price", lt=3.5))),
    ],
)
def test_what_a_filter_means(text: str, meaning: Filter) -> None:
    assert parse_filter(text) == meaning


@pytest.mark.parametrize("text", ["label", "label>Shoes", "and", "year>=2012 and"])
def test_a_filter_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_filter(text)


def test_a_field_that_no_store_can_ask_for(store: Store) -> None:
    if store.info.url.startswith("faiss"):
        assert store.count((Match('a"b', (1,)),)) == 0
    else:
        with pytest.raises(UsageError, match="quotation mark"):
            store.search(VECTORS[:1], 1, filter=(Match('a"b', (1,)),))


@pytest.mark.parametrize("kind", ["edge", "faiss", "server"])
def test_points_are_deleted_and_changed_by_filter_and_by_id(kind: str, tmp_path: Path) -> None:
    root = tmp_path / "index"
    with qdrant_server() as server:
        url = server.url if kind == "server" else INDEXES[kind].format(root=root)
        if kind == "server":
            writer = qdrant_writer(url, plan_for(VECTORS), Settings())
            writer.write(POINTS)
            writer.publish(silent)
        else:
            fill_folder([url])
        made = Collection(catalogs(url), "made", Settings())
        bags = parse_filter("label=Bags")
        gone = [point.id for point in POINTS if matches(point.payload, bags)]
        assert made.delete(ids=[POINTS[0].id, NOBODY], filter=bags) == len({*gone, POINTS[0].id})
        new = {"label": "Boots", "year": None, "fresh": 1}
        assert made.update(new, ids=[POINTS[0].id], filter=parse_filter("label=Shoes")) > 0
        store = open_store(url, "made", Settings())
        left = [point for point in POINTS if point.id not in {*gone, POINTS[0].id}]
        expected = {
            point.id: {name: value for name, value in {**point.payload, **new}.items() if name != "year"}
            if point.payload["label"] == "Shoes"
            else point.payload
            for point in left
        }
        assert {one.id: one.payload for one in store.scroll()} == expected
        assert store.vectors([gone[0]]) == [None]
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


@pytest.mark.parametrize(
    "factory",
    [
        "Flat",
        "SQ8",
        "HNSW16_SQ8",
        "IVF4,SQ8",
        "OPQ4,HNSW16",
        "IVF4,PQ4x4fs,RFlat",
        "IVF4,RaBitQ,RFlat",
        "SQ8,RFlat",
        "PQ4x4,RFlat",
        "PQ4x4fs,RFlat",
        "RR8,Flat",
    ],
)
def test_a_factory_string_filters_and_finds(factory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss_index, "_LARGE", 0)  # mapped, not read
    log = VectorLog(written_log(tmp_path), VECTORS.shape[1])
    options = {"index": factory, "ef_construct": "100", "ef": "128", "nprobe": "4", "oversampling": "100"}
    faiss_index.build(tmp_path / "index", log, options, lambda done: None)
    index = faiss_index.open_index(tmp_path / "index", log, options)
    for filter in ((), parse_filter("label=Bags"), parse_filter("year=2011 and new=true and price<2")):
        for query in unit_vectors(5, 1):
            best = scan(query, filter)[:10]
            for exact in (False, True):
                (found,) = index.search(query[None], 10, SearchParams(ef=COUNT, exact=exact), filter)
                slack = 1e-4 if exact or "SQ8" not in factory else 0.05
                assert np.allclose(sorted(-hit.score for hit in found), [score for score, _ in best], atol=slack)
                assert all(matches(hit.payload, filter) for hit in found)


def written_log(folder: Path) -> Path:
    writer = LogWriter(segment_path(folder / "log", 1), VECTORS.shape[1])
    writer.append(POINTS)
    writer.close()
    return folder / "log"


def test_what_a_source_had_counts_as_stored_though_its_payload_was_changed_here() -> None:
    for version in ("", "7"):
        point = with_changes(replace(POINTS[0], version=version), {"label": "Boots"})
        stored = StoredIds.of([(id_bytes(point.id), point.version, point.digest)])
        assert stored.has(point.id, version, POINTS[0].digest)
        assert stored.has(point.id, "", point.digest)
        assert not stored.has(point.id, "", POINTS[1].digest)


@pytest.mark.parametrize("quantization", ["none", "scalar", "product", "binary", "turbo"])
def test_quantized_vectors_are_searched_and_the_whole_ones_kept(quantization: str, tmp_path: Path) -> None:
    log = VectorLog(written_log(tmp_path), VECTORS.shape[1])
    options = {**ENGINES["edge"].options, "quantization": quantization, "oversampling": "40"}
    edge.build(tmp_path / "made" / "1" / "edge", log, options, lambda done: None)
    index = edge.open_index(tmp_path / "made" / "1" / "edge", log, options)
    for query in unit_vectors(5, 4):
        best = [-score for score, _ in scan(query, ())[:10]]
        for exact in (False, True):
            (found,) = index.search(query[None], 10, SearchParams(exact=exact))
            assert np.allclose(sorted((hit.score for hit in found), reverse=True), best, atol=1e-4)
    index.close()
