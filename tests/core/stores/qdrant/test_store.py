"""A collection of a server open for reading."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from qdrant_client.http import models

from cbir.errors import CbirError
from cbir.filters.conditions import matches
from cbir.filters.parser import parse_filter
from cbir.index.generation import Plan
from cbir.progress import silent
from cbir.records import digest
from cbir.search.query import Query, search
from cbir.settings import Settings
from cbir.stores.base import SearchParams, Store
from cbir.stores.qdrant.server import READ_RETRY_SECONDS, Server
from cbir.stores.qdrant.store import QdrantStore
from cbir.stores.registry import connect, open_store
from cbir.stores.url import parse
from tests.support import contract
from tests.support.building import plan_for, points_of, qdrant_writer, unit_vectors
from tests.support.contract import ServerPlace
from tests.support.grpc_server import Port, grpc_port
from tests.support.qdrant_engine import STRICT
from tests.support.qdrant_points import NOWHERE, PLAN, POINTS, VECTORS, Clock, OpenWriter, writer_at
from tests.support.qdrant_server import Running, qdrant_server

pytestmark = [
    # What the modules filter, where pytest resets the filters.
    pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection"),
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
]


def test_a_search_does_not_wait_long(server: Running, plan: Plan, open_writer: OpenWriter, clock: Clock) -> None:
    open_writer().write(POINTS)
    store = open_store(server.url, plan.collection, Settings())
    server.inject("query", times=2, status=503)
    assert store.search(VECTORS[:1], 1)[0][0].id == POINTS[0].id
    server.inject("query", times=-1, status=503)
    clock.pauses.clear()
    with pytest.raises(CbirError, match="503"):
        store.search(VECTORS[:1], 1)
    assert sum(clock.pauses) == pytest.approx(READ_RETRY_SECONDS)


def test_all_goes_through_grpc_and_comes_back_as_through_rest(port: Port) -> None:
    url = f"{NOWHERE}?grpc={port.number}&m=32&quantization=scalar&shards=3"
    with qdrant_server() as rest:
        answers = []
        for one in (f"{rest.url}?grpc=0&m=32&quantization=scalar&shards=3", url):
            writer = writer_at(one)
            assert (writer.write(POINTS), writer.needs_publishing, len(writer.stored_ids)) == ([], True, 0)
            writer.delete([POINTS[0].id])
            writer.publish(silent)
            again = writer_at(one)
            assert not again.needs_publishing
            assert all(again.stored_ids.has(point.id, point.version, point.digest) for point in POINTS[1:])
            store = open_store(one, "set", Settings())
            points = {point.id: replace(point, vector=None) for point in store.points()}  # type: ignore[arg-type]
            assert points == {point.id: replace(point, vector=None) for point in POINTS[1:]}  # type: ignore[arg-type]
            ids, matrix = store.matrix()
            hits = store.search(VECTORS[:5], 3)
            thumbnails = store.thumbnails([POINTS[3].id, POINTS[0].id])
            assert thumbnails == [POINTS[3].thumbnail, None]
            info, catalog = store.info, connect(one, Settings())
            found = (ids, hits, catalog.names(), catalog.resolve("set"))
            answers.append((*found, info.count, info.model, info.options, store.sample(5, 1)))
            assert np.allclose(matrix, [VECTORS[int(point.payload["key"])] for point in map_ids(ids)], atol=1e-6)
            assert store.vectors([POINTS[0].id]) == [None]
            client = Server(parse(one), Settings()).ask(lambda client: client.get_collection(PLAN.collection))
            assert client.payload_schema["label"].data_type == models.PayloadSchemaType.KEYWORD
    assert_alike(*answers)
    used = {"Create", "Upsert", "Delete", "CreateFieldIndex", "Update", "UpdateAliases", "Scroll", "Get", "QueryBatch"}
    assert used <= set(port.calls)


def map_ids(ids: list[str]) -> list:
    by_id = {point.id: point for point in POINTS}
    return [by_id[one] for one in ids]


def assert_alike(one: tuple, other: tuple) -> None:
    assert one[:1] + one[2:] == other[:1] + other[2:]
    for hits, others in zip(one[1], other[1], strict=True):
        assert [(hit.id, hit.payload) for hit in hits] == [(hit.id, hit.payload) for hit in others]
        assert np.allclose([hit.score for hit in hits], [hit.score for hit in others], atol=1e-6)


def test_a_server_is_told_how_widely_to_search(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[models.SearchParams] = []

    class Recorder:
        def query_batch_points(
            self, collection: str, requests: list[models.QueryRequest]
        ) -> list[models.QueryResponse]:
            sent.extend(request.params for request in requests if request.params)
            return [models.QueryResponse(points=[]) for _ in requests]

    with qdrant_server() as server:
        qdrant_writer(server.url, plan_for(VECTORS), Settings())
        store = open_store(f"{server.url}?ef=50&oversampling=3", "made", Settings())
        assert isinstance(store, QdrantStore)
        store.search(VECTORS[:1], 1)  # reads the collection's limits
        monkeypatch.setattr(store._server, "ask", lambda call: call(Recorder()))
        for params in (SearchParams(), SearchParams(ef=7, oversampling=5), SearchParams(exact=True)):
            store.search(VECTORS[:1], 10, params=params)
    told = [(one.hnsw_ef, one.exact, one.quantization.oversampling) for one in sent if one.quantization]
    assert told[:2] == [(50, False, 3.0), (7, False, 5.0)]
    assert (told[2][:2], sent[2].quantization and sent[2].quantization.ignore) == ((None, True), True)


@pytest.fixture(params=["rest", "grpc"])
def strict_store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """The points of the contract on a server in strict mode, filled and opened there."""
    with qdrant_server() as server, grpc_port() as port:
        server.configure(strict=STRICT)
        port.engine.behaviour = replace(port.engine.behaviour, strict=STRICT)
        url = {"rest": f"{server.url}?grpc=0", "grpc": f"{NOWHERE}?grpc={port.number}"}[request.param]
        place = ServerPlace(url, plan_for(VECTORS))
        place.fill()
        assert len(qdrant_writer(url, place.plan, Settings()).stored_ids) == contract.COUNT
        assert next(connect(url, Settings()).listing()).points == contract.COUNT
        yield place.open()


def test_a_collection_in_strict_mode_is_read_within_its_limits(strict_store: Store) -> None:
    assert strict_store.count() == len(strict_store.matrix()[0]) == len(list(strict_store.points())) == contract.COUNT
    assert [entry.id for entry in strict_store.scroll(limit=250)] == sorted(contract.BY_ID)[:250]
    assert len(strict_store.sample(150, 1)) == 150
    assert len(strict_store.search(contract.VECTORS[:1], 100)[0]) == 100
    for text in ("label=Bags", "year>=2012", "new=true", "price<2.6", "label=none", "key=3", "year=2011", "tags!=red"):
        filter = parse_filter(text)
        expected = contract.scan(contract.VECTORS[0], filter)
        assert strict_store.count(filter) == len(expected), text
        hits = strict_store.search(contract.VECTORS[:1], 10, filter=filter)[0]
        assert np.allclose([hit.score for hit in hits], [-score for score, _ in expected[:10]], atol=1e-5)
        facet = Counter(point.payload["year"] for point in contract.POINTS if matches(point.payload, filter))
        del facet[None]
        assert dict(strict_store.facet("year", filter, 1000)) == dict(strict_store.facet("year", filter, 100)) == facet


def test_pages_reach_the_limit_of_strict_mode(strict_store: Store) -> None:
    query = Query((contract.VECTORS[0],))
    pages = [search(strict_store, replace(query, offset=offset, limit=10)) for offset in range(0, 100, 10)]
    assert len({hit.id for hits in pages for hit in hits}) == 100
    with pytest.raises(CbirError, match="max_query_limit"):
        search(strict_store, replace(query, offset=100, limit=10))


def test_a_facet_with_many_equal_counts_takes_few_requests(
    server: Running, plan: Plan, open_writer: OpenWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    payloads = [{"name": f"{i:04}", "half": f"half {i % 2}"} for i in range(600)]
    points = points_of(unit_vectors(600, dimension=8))
    open_writer().write([replace(points[i], payload=payloads[i], digest=digest(payloads[i])) for i in range(600)])
    store = open_store(server.url, plan.collection, Settings())
    assert isinstance(store, QdrantStore)
    calls, ask = Counter[str](), store._server.ask
    monkeypatch.setattr(store._server, "ask", lambda call: calls.update(["ask"]) or ask(call))
    assert store.facet("half", limit=10) == [("half 0", 300), ("half 1", 300)]
    few = calls["ask"]
    assert len(store.facet("name", limit=10)) == 10
    assert calls["ask"] - few <= few + 2
    assert store.facet("name", limit=200) == [(f"{i:04}", 1) for i in range(200)]


@pytest.mark.parametrize(
    ("k", "exact", "text", "setting"),
    [
        (101, False, "", "max_query_limit"),
        (10, True, "", "search_allow_exact"),
        (10, False, "absent=1", "unindexed_filtering_retrieve"),
    ],
)
def test_what_strict_mode_forbids_is_said_with_the_setting(
    strict_store: Store, k: int, exact: bool, text: str, setting: str
) -> None:
    with pytest.raises(CbirError, match=f"the setting {setting} of the collection's strict mode forbids it"):
        strict_store.search(
            contract.VECTORS[:1], k, params=SearchParams(exact=exact), filter=parse_filter(text) if text else ()
        )


def test_a_search_stays_below_the_limits_of_strict_mode(server: Running, plan: Plan, open_writer: OpenWriter) -> None:
    server.configure(strict={"enabled": True, "search_max_hnsw_ef": 50, "search_max_oversampling": 1.5})
    open_writer().write(POINTS)
    store = open_store(server.url, plan.collection, Settings())
    for params in (SearchParams(), SearchParams(ef=1000, oversampling=9)):
        assert store.search(VECTORS[:1], 1, params=params)[0][0].id == POINTS[0].id


def calls_of(work: Callable[[], object]) -> int:
    """Return how many functions this thread calls."""
    calls = Counter[str]()
    sys.setprofile(lambda frame, event, argument: calls.update([event]))
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls["call"] + calls["c_call"]


@pytest.mark.parametrize("kind", ["rest", "grpc"])
def test_a_search_does_not_handle_a_vector_number_by_number(kind: str) -> None:
    calls = []
    with qdrant_server() as server, grpc_port() as port:
        url = {"rest": f"{server.url}?grpc=0", "grpc": f"{NOWHERE}?grpc={port.number}"}[kind]
        for dimension in (8, 2048):
            vectors = unit_vectors(20, dimension=dimension)
            writer = qdrant_writer(url, plan_for(vectors, f"of-{dimension}"), Settings())
            writer.write(points_of(vectors))
            store = open_store(url, f"of-{dimension}", Settings())
            works = [partial(store.search, vectors[:1], 10), *([store.matrix] if kind == "grpc" else [])]
            for work in works:
                work()  # reads the collection's limits
            calls.append([calls_of(work) for work in works])
    for small, large in zip(*calls, strict=True):
        assert large < small + 2000
