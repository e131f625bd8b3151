"""Collections of a server, their aliases, and what readers see."""

from dataclasses import replace

import pytest
from qdrant_client import models

from cbir.errors import UsageError
from cbir.index.generation import Plan
from cbir.settings import Settings
from cbir.stores.qdrant.catalog import server_listed
from cbir.stores.qdrant.records import CollectionRecord
from cbir.stores.registry import connect, open_store
from tests.support.building import MODEL
from tests.support.qdrant_points import COUNT, POINTS, OpenWriter, aliases, names, publish
from tests.support.qdrant_server import Running

pytestmark = [
    # What the modules filter, where pytest resets the filters.
    pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection"),
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
]


def test_readers_see_a_collection_when_it_is_complete(server: Running, plan: Plan, open_writer: OpenWriter) -> None:
    old = open_writer(collection=f"{plan.dataset}-old")
    old.write(POINTS[:3])
    publish(old)
    newer = replace(plan.model, sha256="1" * 64)
    new = open_writer(model=newer)
    assert new.needs_publishing
    new.write(POINTS)

    def seen() -> tuple[str, int, str]:
        (first, *_) = (name for name in names(server) if plan.dataset in name)
        info = open_store(server.url, plan.dataset, Settings()).info
        return first, info.count, connect(server.url, Settings()).resolve(plan.dataset)

    assert seen() == (f"{plan.dataset}-old", 3, f"{plan.dataset}-old")
    assert plan.collection not in names(server)
    assert plan.collection in {info.collection for info in connect(server.url, Settings()).listing()}
    assert open_store(server.url, plan.collection, Settings()).info.count == COUNT, "by its name it can be opened"
    publish(new)
    assert seen() == (plan.collection, COUNT, plan.collection)
    assert not new.needs_publishing
    assert not open_writer(model=newer).needs_publishing
    assert open_store(server.url, f"{plan.dataset}-old", Settings()).info.count == 3, "the old one is still there"
    assert open_store(server.url, plan.collection, Settings()).info.model == newer
    connect(server.url, Settings()).use(f"{plan.dataset}-old")
    assert seen() == (f"{plan.dataset}-old", 3, f"{plan.dataset}-old")


def test_a_collection_opened_by_default_is_the_newest(server: Running, open_writer: OpenWriter, plan: Plan) -> None:
    for number in ("1", "2"):
        writer = open_writer(dataset=f"{plan.dataset}-{number}", collection=f"{plan.collection}-{number}")
        writer.write(POINTS[:1])
        publish(writer)
    open_writer(collection=f"{plan.collection}-half").write(POINTS)
    assert open_store(server.url, None, Settings()).info.collection == f"{plan.collection}-2"


def test_a_name_that_is_taken(
    server: Running, plan: Plan, open_writer: OpenWriter, caplog: pytest.LogCaptureFixture
) -> None:
    client = server.client()
    size = models.VectorParams(size=8, distance=models.Distance.COSINE)
    client.create_collection(plan.dataset, vectors_config=size)
    writer = open_writer()
    assert f"has a collection named {plan.dataset}, so no alias can be" in caplog.text
    writer.write(POINTS)
    publish(writer)
    assert plan.dataset not in aliases(server)
    assert plan.collection in names(server)
    assert not open_writer().needs_publishing
    with pytest.raises(UsageError, match="is a collection itself"):
        connect(server.url, Settings()).use(plan.collection)
    with pytest.raises(UsageError, match="that cbir did not make"):
        open_writer(collection=plan.dataset)
    with pytest.raises(UsageError, match="no collection .* that cbir made"):
        connect(server.url, Settings()).drop(plan.dataset)
    assert client.collection_exists(plan.dataset)


def test_dropping(server: Running, plan: Plan, open_writer: OpenWriter) -> None:
    writer = open_writer()
    publish(writer)
    with pytest.raises(UsageError, match=f"is an alias of {plan.collection}"):
        connect(server.url, Settings()).drop(plan.dataset)
    with pytest.raises(UsageError, match=f"is an alias of {plan.collection}"):
        open_writer(collection=plan.dataset)
    connect(server.url, Settings()).drop(plan.collection)
    assert plan.dataset not in aliases(server)
    with pytest.raises(UsageError, match=f"has no collection '{plan.collection}' that cbir made; it has: "):
        open_store(server.url, plan.collection, Settings())


@pytest.mark.parametrize(
    ("status", "building", "alias", "condition", "state"),
    [
        ("green", False, "set", "ready", "ready"),
        ("green", False, "", "ready", "ready, but not in use"),
        ("yellow", False, "set", "indexing", "ready, and the server is indexing it"),
        ("grey", False, "set", "indexing", "ready, and the server goes on indexing"),
        ("green", True, "", "unfinished", "unfinished: run its ingest again"),
        ("green", True, "set", "ready", "ready, and an unfinished run"),
        ("red", False, "set", "damaged", "damaged: the server says"),
    ],
)
def test_what_a_server_says_of_a_collection(
    status: str, building: bool, alias: str, condition: str, state: str
) -> None:
    record = CollectionRecord("set", "nowhere", MODEL, "2026-01-01", building=building)
    config = models.CollectionConfig(
        params=models.CollectionParams(),
        hnsw_config=models.HnswConfig(m=16, ef_construct=100, full_scan_threshold=10),
        optimizer_config=models.OptimizersConfig(
            deleted_threshold=0.2, vacuum_min_vector_number=1, default_segment_number=0, flush_interval_sec=5
        ),
    )
    info = models.CollectionInfo(
        status=models.CollectionStatus(status),
        optimizer_status=models.OptimizersStatusOneOf.OK,
        indexed_vectors_count=7,
        segments_count=1,
        config=config,
        payload_schema={},
    )
    one = server_listed("made", "http://host", record, info, 9, alias)
    assert (one.condition, one.points, one.indexed, one.alias) == (condition, 9, 7, alias)
    assert one.state.startswith(state)
    trouble = info.model_copy(update={"optimizer_status": models.OptimizersStatusOneOf1(error="no space\nleft")})
    assert server_listed("made", "http://host", record, trouble, 9, alias).state.endswith(": no space left")
