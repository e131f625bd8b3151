"""A collection of a server open for reading."""

import time
from dataclasses import replace

import numpy as np
import pytest
from qdrant_client.http import models

from cbir.errors import CbirError
from cbir.index.generation import Plan
from cbir.progress import silent
from cbir.settings import Settings
from cbir.stores.base import SearchParams
from cbir.stores.qdrant.server import Server
from cbir.stores.qdrant.store import QdrantStore
from cbir.stores.registry import connect, open_store
from cbir.stores.url import parse
from tests.support.building import plan_for, qdrant_writer
from tests.support.grpc_server import Port
from tests.support.qdrant_points import NOWHERE, PLAN, POINTS, VECTORS, OpenWriter, writer_at
from tests.support.qdrant_server import Running, qdrant_server

pytestmark = [
    # What the modules filter, where pytest resets the filters.
    pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection"),
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
]


def test_a_search_does_not_wait_long(server: Running, plan: Plan, open_writer: OpenWriter) -> None:
    open_writer().write(POINTS)
    store = open_store(server.url, plan.collection, Settings())
    server.inject("query", times=2, status=503)
    assert store.search(VECTORS[:1], 1)[0][0].id == POINTS[0].id
    server.inject("query", times=-1, status=503)
    start = time.monotonic()
    with pytest.raises(CbirError, match="503"):
        store.search(VECTORS[:1], 1)
    assert time.monotonic() - start < 5


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
        monkeypatch.setattr(store._server, "ask", lambda call: call(Recorder()))
        for params in (SearchParams(), SearchParams(ef=7, oversampling=5), SearchParams(exact=True)):
            store.search(VECTORS[:1], 10, params=params)
    told = [(one.hnsw_ef, one.exact, one.quantization.oversampling) for one in sent if one.quantization]
    assert told[:2] == [(50, False, 3.0), (7, False, 5.0)]
    assert (told[2][:2], sent[2].quantization and sent[2].quantization.ignore) == ((None, True), True)
