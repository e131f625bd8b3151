"""What a collection on a server says of itself: its metadata, its options, and reading it page by page."""

from dataclasses import asdict

import pytest
from qdrant_client import models

import cbir.stores.qdrant.records
import cbir.stores.qdrant.writer
from cbir.errors import UsageError
from cbir.index.generation import Plan
from cbir.settings import Settings
from cbir.stores.qdrant.records import METADATA, scroll, to_point
from cbir.stores.qdrant.server import Server
from cbir.stores.registry import open_store
from cbir.stores.url import parse
from tests.support.faults import Fault
from tests.support.qdrant_points import COUNT, POINTS, VECTORS, OpenWriter, aliases, names, publish
from tests.support.qdrant_server import Running

pytestmark = [
    # What the modules filter, where pytest resets the filters.
    pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection"),
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
]


def test_a_long_scroll_goes_on_where_it_was(
    server: Running, plan: Plan, open_writer: OpenWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_writer().write(POINTS)
    monkeypatch.setattr(cbir.stores.qdrant.records, "_PAGE", 7)
    server.configure(faults=[Fault("scroll", times=1), Fault("scroll", times=2, reset=True)])
    writer = open_writer()
    assert len(writer.stored_ids) == COUNT
    assert all(writer.stored_ids.has(point.id, point.version, point.digest) for point in POINTS)
    assert dict(writer.described()) == {
        point.id: {"key": point.payload["key"], "sha256": point.payload["sha256"]} for point in POINTS
    }
    assert dict(writer.thumbnails()) == {point.payload["key"]: point.thumbnail for point in POINTS}


def test_points_come_with_what_was_asked_for(server: Running, plan: Plan, open_writer: OpenWriter) -> None:
    open_writer().write(POINTS)
    reader = Server(parse(server.url), Settings())
    (plain, *_), (whole, *_) = (
        list(scroll(reader, plan.collection, payload=wanted, vectors=wanted)) for wanted in (False, True)
    )
    assert (plain.payload or {}, plain.vector, len(whole.vector)) == ({}, None, 8)  # type: ignore[arg-type]
    assert next(scroll(reader, plan.collection)) == plain
    assert to_point(whole).payload == next(point.payload for point in POINTS if point.id == whole.id)


def test_what_an_older_version_filled_still_works(server: Running, plan: Plan, open_writer: OpenWriter) -> None:
    record = {"dataset": plan.dataset, "source": plan.source, "created": "2025-01-01T00:00:00+00:00"}
    server.client().create_collection(
        plan.collection,
        vectors_config=models.VectorParams(size=8, distance=models.Distance.COSINE),
        metadata={METADATA: {**record, "model": asdict(plan.model)}},
    )
    assert plan.collection in names(server)
    writer = open_writer()
    assert (writer.resumed, writer.needs_publishing) == (0, True)
    publish(writer)
    assert aliases(server)[plan.dataset] == plan.collection


def test_options_are_those_of_the_collection(server: Running, plan: Plan, open_writer: OpenWriter) -> None:
    query = "?shards=6&replicas=2&write_consistency=2&on_disk=1&quantization=scalar&m=32&ef_construct=200"
    open_writer(query=query).write(POINTS)
    made = server.client().get_collection(plan.collection)
    params, hnsw = made.config.params, made.config.hnsw_config
    assert (params.shard_number, params.replication_factor, params.write_consistency_factor) == (6, 2, 2)
    assert (params.vectors.on_disk, hnsw.on_disk, params.on_disk_payload) == (True, True, True)  # type: ignore[union-attr]
    assert (hnsw.m, hnsw.ef_construct) == (32, 200)
    assert isinstance(made.config.quantization_config, models.ScalarQuantization)
    assert made.payload_schema["label"].data_type == models.PayloadSchemaType.KEYWORD
    open_writer(), open_writer(query="?m=32&ef=64")
    with pytest.raises(UsageError, match="was made with shards=6; leave the option out"):
        open_writer(query="?shards=3")
    store = open_store(f"{server.url}?ef=64", plan.collection, Settings())
    assert (store.info.options["ef"], store.info.options["shards"]) == ("64", "6")
    assert store.search(VECTORS[:1], 1)[0][0].id == POINTS[0].id
    with pytest.raises(UsageError, match="was made with m=32"):
        open_store(f"{server.url}?m=16", plan.collection, Settings())
