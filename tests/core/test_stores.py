"""The contract that every store keeps, and how URLs are read."""

import os
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cbir.errors import CbirError, UsageError
from cbir.progress import silent
from cbir.settings import Settings
from cbir.stores.base import SearchParams, Store
from cbir.stores.registry import connect, open_store
from cbir.stores.url import locate, parse
from tests.support.building import DIMENSION, both, build, builder_for, plan_for, points_of, qdrant_writer, unit_vectors
from tests.support.qdrant_server import qdrant_server

COUNT = 500
VECTORS = unit_vectors(COUNT)
VECTORS[7] = VECTORS[8] = VECTORS[9]  # exact copies: equal scores must come by id
SERVER, API_KEY = os.environ.get("QDRANT_URL", ""), os.environ.get("QDRANT_API_KEY")
KINDS = ("edge", "faiss", "faiss-ivf", "server")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Store]]:
    root = tmp_path_factory.mktemp("stores") / "index"
    urls = {
        "edge": f"edge:{root}",
        "faiss": f"faiss:{root}/faiss",
        "faiss-ivf": f"faiss:{root}/lists?index=IVF8,Flat&nprobe=8",
    }
    build(list(urls.values()), VECTORS)
    with qdrant_server() as server:
        urls["server"] = server.url
        qdrant_writer(server.url, plan_for(VECTORS), Settings()).write(points_of(VECTORS))
        opened = {kind: open_store(url, "made", Settings()) for kind, url in urls.items()}
        yield opened
        for store in opened.values():
            store.close()


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, stores: dict[str, Store]) -> Store:
    return stores[request.param]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000), queries=st.integers(1, 4), k=st.integers(1, COUNT + 5), exact=st.booleans())
def test_hits_are_the_best_in_order(store: Store, seed: int, queries: int, k: int, exact: bool) -> None:
    query = unit_vectors(queries, seed)
    before = query.copy()
    found = store.search(query, k, params=SearchParams(exact=exact))
    assert np.array_equal(query, before), "the caller's array was changed"
    assert len(found) == queries
    by_id = {point.id: point for point in points_of(VECTORS)}
    for vector, hits in zip(query, found, strict=True):
        assert len({hit.id for hit in hits}) == len(hits)
        assert [(-hit.score, hit.id) for hit in hits] == sorted((-hit.score, hit.id) for hit in hits)
        for hit in hits:
            assert hit.score == pytest.approx(float(vector @ by_id[hit.id].vector), abs=1e-5)
            assert hit.payload == by_id[hit.id].payload
        if exact:
            best = np.sort(VECTORS @ vector)[::-1][:k]
            assert np.allclose([hit.score for hit in hits], best, atol=1e-5)


def test_copies_come_by_id(store: Store) -> None:
    hits = store.search(VECTORS[7:8], 3, params=SearchParams(exact=True))[0]
    assert [hit.id for hit in hits] == sorted(points_of(VECTORS)[number].id for number in (7, 8, 9))


def test_what_is_stored_comes_back(store: Store) -> None:
    points = points_of(VECTORS)
    for point in points[:20]:
        (vector,) = store.vectors([point.id])
        assert vector is not None
        assert np.allclose(vector, point.vector, atol=1e-6)
    nobody = "00000000-0000-0000-0000-000000000000"
    asked = [points[3].id, nobody, points[1].id]
    assert store.thumbnails(asked) == [points[3].thumbnail, None, points[1].thumbnail]
    assert store.thumbnails([]) == []


def test_the_matrix_holds_every_vector(store: Store) -> None:
    ids, vectors = store.matrix()
    by_id = {point.id: point.vector for point in points_of(VECTORS)}
    assert set(ids) == set(by_id)
    assert np.allclose(vectors, [by_id[identity] for identity in ids], atol=1e-6)


def test_a_sample_is_random_but_repeatable(store: Store) -> None:
    assert store.sample(10, 1) == store.sample(10, 1) != store.sample(10, 2)
    assert len(set(store.sample(COUNT + 100, 3))) == COUNT


def test_the_store_says_what_it_holds(store: Store) -> None:
    assert store.info.count == COUNT
    assert store.info.collection == "made"
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


def test_an_unknown_collection_is_named(tmp_path: Path) -> None:
    build([f"edge:{tmp_path}/index"], VECTORS[:3])
    with pytest.raises(UsageError, match="no collection 'other'; it has: made"):
        open_store(f"edge:{tmp_path}/index", "other", Settings())
    with pytest.raises(UsageError, match="has no faiss index"):
        open_store(f"faiss:{tmp_path}/index/faiss", "made", Settings())
    with pytest.raises(
        UsageError, match="No collection found at edge:.*/empty. Create one with: cbir-ingest SOURCE --store edge:"
    ):
        open_store(f"edge:{tmp_path}/empty", None, Settings())


def test_the_newest_collection_comes_first(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        build([f"edge:{tmp_path}/index"], VECTORS[:3], collection=name)
    assert connect(f"edge:{tmp_path}/index", Settings()).names() == ["c", "a", "b"]


def test_two_programs_may_read_one_index(tmp_path: Path) -> None:
    build(both(tmp_path), VECTORS)
    first, second = (open_store(f"edge:{tmp_path}", "made", Settings()) for _ in range(2))
    answers = [store.search(VECTORS[:1], 5) for store in (first, second)]
    assert answers[0] == answers[1]
    first.close()
    assert second.search(VECTORS[:1], 5) == answers[1]
    second.close()
    second.close()
    assert list((tmp_path / "made" / "views").iterdir()) == []


def test_an_open_store_outlives_the_generations_after_it(tmp_path: Path) -> None:
    build(both(tmp_path), VECTORS)
    stores = [open_store(url, "made", Settings()) for url in both(tmp_path)]
    answers = [store.search(VECTORS[:2], 5) for store in stores]
    for version in ("2", "3", "4"):
        build(both(tmp_path), VECTORS[:100], version=version)
    assert sorted(path.name for path in (tmp_path / "made").glob("0*")) == ["000003", "000004"]
    assert [store.search(VECTORS[:2], 5) for store in stores] == answers
    assert all(None not in store.thumbnails(store.sample(3, 0)) for store in stores)
    for store in stores:
        store.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("redis://x", "unknown store"),
        ("edge:", "unknown store"),
        ("./index", "unknown store"),
        ("edge:./index?nprobe=3", "unknown option 'nprobe'; edge has m, ef_construct, quantization"),
        ("faiss:./index?ef=many", "whole number from 1"),
        ("edge:./index?m=0", "whole number from 1"),
        ("edge:./index?quantization=half", "one of none, scalar, product, binary, turbo"),
        ("edge:./index?ef=99999999999999999999", "whole number from 1"),
    ],
)
def test_a_wrong_url_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(text)


@pytest.mark.parametrize("url", ["faiss:{}?index=Nonsense7", "edge:{}?ef_construct=2"])
def test_an_index_that_cannot_be_built_is_refused_before_anything_is_made(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        builder_for([url.format(tmp_path / "index")], VECTORS)
    assert not (tmp_path / "index").exists()


def test_paths_inside_an_index_folder_name_its_indexes(tmp_path: Path) -> None:
    def places(*urls: str) -> list[tuple[str, str]]:
        return [(str(place.root.relative_to(tmp_path)), place.name) for place in locate([parse(url) for url in urls])]

    assert places(f"edge:{tmp_path}/i", f"faiss:{tmp_path}/i/flat") == [("i", "edge"), ("i", "flat")]
    assert places(f"faiss:{tmp_path}/i/flat") == [("i/flat", "faiss")]
    (tmp_path / "i").mkdir()
    (tmp_path / "i" / "cbir.json").write_text("{}")
    assert places(f"faiss:{tmp_path}/i/flat") == [("i", "flat")]
    (tmp_path / "link").symlink_to(tmp_path / "i")
    assert places(f"edge:{tmp_path}/link", f"faiss:{tmp_path}/x/../i/flat") == [("i", "edge"), ("i", "flat")]
    for name in ("log", "building", "a.b", "a b"):
        with pytest.raises(UsageError, match="cannot be an index's name"):
            locate([parse(f"edge:{tmp_path}/i/{name}")])
    with pytest.raises(UsageError, match="the same index twice"):
        locate([parse(f"edge:{tmp_path}/i"), parse(f"edge:{tmp_path}/i?ef=9")])


def test_factory_strings_keep_their_commas_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CBIR_STORES", "edge:i, faiss:i/a?index=IVF8,Flat,http://h:6333")
    assert Settings().stores == ("edge:i", "faiss:i/a?index=IVF8,Flat", "http://h:6333")
    monkeypatch.setenv("CBIR_WORKERS", "many")
    with pytest.raises(UsageError, match="CBIR_WORKERS"):
        Settings()


def test_an_unreachable_server_is_one_line() -> None:
    with pytest.raises(CbirError, match="http://localhost:9 cannot be reached"):
        open_store("http://localhost:9", None, Settings())


@pytest.mark.server
@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
@pytest.mark.skipif(not SERVER, reason="no QDRANT_URL")
def test_a_real_server_keeps_the_contract() -> None:
    name, url = f"cbir-test-{uuid.uuid4().hex}", SERVER
    options = Settings(QDRANT_API_KEY=API_KEY)
    plan = replace(plan_for(VECTORS, f"{name}-made"), dataset=name)
    catalog, writer = connect(url, options), qdrant_writer(url, plan, options)
    try:
        assert writer.write(points_of(VECTORS)) == []
        writer.publish(silent)
        assert catalog.resolve(name) == plan.collection
        store = open_store(url, name, options)
        test_what_is_stored_comes_back(store)
        test_copies_come_by_id(store)
        test_the_matrix_holds_every_vector(store)
    finally:
        catalog.drop(plan.collection)
