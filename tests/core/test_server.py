"""A Qdrant server as a store that loses nothing, over real HTTP and with every fault that a network has."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qdrant_client import models

import cbir.stores.qdrant.records
import cbir.stores.qdrant.writer
from cbir.errors import CbirError, UsageError
from cbir.index.generation import Plan
from cbir.pipeline.run import ingest
from cbir.progress import silent
from cbir.records import Point
from cbir.settings import Settings
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source
from cbir.stores.base import Store
from cbir.stores.qdrant.records import METADATA
from cbir.stores.qdrant.server import server_options
from cbir.stores.qdrant.writer import QdrantWriter
from cbir.stores.registry import connect, open_store
from cbir.stores.url import parse
from tests.support.building import catalogs, plan_for, points_of, qdrant_writer, unit_vectors
from tests.support.faults import Fault
from tests.support.qdrant_server import Running, qdrant_server

COUNT = 40
VECTORS = unit_vectors(COUNT)
POINTS = points_of(VECTORS)
UPSERT = "PUT .*/points$"
KEY = "the-right-key"
Fill = Callable[..., QdrantWriter]

# What the store filters, where pytest resets the filters.
pytestmark = pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with qdrant_server() as one:
        yield one


@pytest.fixture
def server(running: Running) -> Iterator[Running]:
    yield running
    running.configure()


@pytest.fixture
def plan(request: pytest.FixtureRequest) -> Plan:
    """A collection and a data set of this test's own."""
    name = f"t{abs(hash(request.node.name))}"
    return replace(plan_for(VECTORS, f"{name}-model"), dataset=name)


@pytest.fixture
def open_writer(server: Running, plan: Plan) -> Fill:
    def opened(budget: float = 20.0, query: str = "", **changes: object) -> QdrantWriter:
        options = Settings(server_retry_seconds=budget)
        return qdrant_writer(f"{server.url}{query}", replace(plan, **changes), options)  # type: ignore[arg-type]

    return opened


def publish(writer: QdrantWriter) -> None:
    writer.publish(silent)


def names(server: Running) -> list[str]:
    return connect(server.url, Settings()).names()


def aliases(server: Running) -> dict[str, str]:
    client = server.client()
    found = {alias.alias_name: alias.collection_name for alias in client.get_aliases().aliases}
    client.close()
    return found


def held(server: Running, plan: Plan) -> dict[str, Point]:
    return {point.id: point for point in open_store(server.url, plan.collection, Settings()).points()}


def same(found: dict[str, Point], expected: list[Point]) -> bool:
    return len(found) == len(expected) and all(
        replace(found[one.id], vector=one.vector) == one and np.allclose(found[one.id].vector, one.vector, atol=1e-6)
        for one in expected
    )


# Faults that pass


@pytest.mark.parametrize(
    "fault",
    [
        *(Fault(UPSERT, status=status) for status in (408, 429, 500, 502, 503, 504)),
        Fault(UPSERT, times=3, status=503),
        Fault(UPSERT, times=2, reset=True),
        Fault(UPSERT, times=2, update="wait_timeout"),
        Fault(UPSERT, update="acknowledged"),
        Fault(UPSERT, status=429, retry_after="soon"),
        Fault(UPSERT, times=2, status=503, retry_after="0"),
    ],
    ids=lambda fault: f"{fault.times}x{fault.status or fault.update or 'reset'}{fault.retry_after}",
)
def test_a_fault_that_passes_loses_nothing(fault: Fault, server: Running, plan: Plan, open_writer: Fill) -> None:
    writer = open_writer()
    server.configure(faults=[fault])
    before = server.stats().requests.get("PUT /collections/{}/points", 0)
    assert writer.write(POINTS) == []
    assert server.stats().requests["PUT /collections/{}/points"] == before + fault.times + 1
    assert same(held(server, plan), POINTS)


def test_a_server_that_is_away_for_a_moment(
    server: Running, plan: Plan, open_writer: Fill, caplog: pytest.LogCaptureFixture
) -> None:
    writer = open_writer()
    writer.write(POINTS[:10])
    server.stop_listening(1.0)
    assert writer.write(POINTS[10:]) == []
    assert same(held(server, plan), POINTS)
    (told,) = (record.getMessage() for record in caplog.records if "trying again" in record.getMessage())
    assert f"{server.url} cannot be reached" in told


def test_a_server_that_hangs_is_asked_again(
    server: Running, plan: Plan, open_writer: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cbir.stores.qdrant.writer, "_TIMEOUT_SECONDS", 1)
    writer = open_writer()
    server.inject(UPSERT, seconds=1.5)
    assert writer.write(POINTS) == []
    assert same(held(server, plan), POINTS)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_kept(status: int, server: Running, open_writer: Fill) -> None:
    writer = open_writer()
    server.inject(UPSERT, status=status, retry_after="1")
    start = time.monotonic()
    assert writer.write(POINTS) == []
    assert time.monotonic() - start >= 1
    server.inject(UPSERT, status=status, retry_after="3600")
    start = time.monotonic()
    with pytest.raises(CbirError, match=f"answered {status}"):
        writer.write(POINTS)
    assert time.monotonic() - start < 1, "it waited though the wait is longer than the budget"


@pytest.mark.parametrize("fault", [{"status": 503}, {"reset": True}], ids=str)
def test_the_budget_ends(fault: dict[str, object], server: Running, plan: Plan, open_writer: Fill) -> None:
    writer = open_writer(budget=1.0)
    writer.write(POINTS[:5])
    server.inject(UPSERT, times=-1, **fault)
    start = time.monotonic()
    with pytest.raises(CbirError, match=f"the Qdrant server {server.url} "):
        writer.write(POINTS[5:10])
    assert 0.9 < time.monotonic() - start < 3
    server.configure()
    assert same(held(server, plan), POINTS[: 5 if "status" in fault else 10])


def test_a_search_does_not_wait_long(server: Running, plan: Plan, open_writer: Fill) -> None:
    open_writer().write(POINTS)
    store = open_store(server.url, plan.collection, Settings())
    server.inject("query", times=2, status=503)
    assert store.search(VECTORS[:1], 1)[0][0].id == POINTS[0].id
    server.inject("query", times=-1, status=503)
    start = time.monotonic()
    with pytest.raises(CbirError, match="503"):
        store.search(VECTORS[:1], 1)
    assert time.monotonic() - start < 5


def test_a_long_scroll_goes_on_where_it_was(
    server: Running, plan: Plan, open_writer: Fill, monkeypatch: pytest.MonkeyPatch
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


# Faults that stay


@pytest.mark.parametrize(("status", "hint"), [(401, "check QDRANT_API_KEY"), (403, "check QDRANT_API_KEY"), (404, "")])
def test_a_refusal_is_not_tried_again(status: int, hint: str, server: Running, open_writer: Fill) -> None:
    writer = open_writer()
    server.inject(UPSERT, times=-1, status=status)
    before = server.stats().requests.get("PUT /collections/{}/points", 0)
    with pytest.raises(CbirError, match=f"answered {status} .*injected by the test.*{hint}"):
        writer.write(POINTS)
    assert server.stats().requests["PUT /collections/{}/points"] == before + 1


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bad=st.sets(st.integers(0, COUNT - 1), max_size=6))
def test_an_image_never_shares_the_fate_of_its_batch(
    bad: set[int], server: Running, plan: Plan, open_writer: Fill
) -> None:
    writer = open_writer()
    writer.delete([point.id for point in POINTS])
    server.configure(poisoned=[POINTS[at].id for at in bad])
    refused = writer.write(POINTS)
    assert [(one.id, one.key, one.version) for one in refused] == [
        (POINTS[at].id, POINTS[at].payload["key"], "1") for at in sorted(bad)
    ]
    assert all(f"refused it: Wrong input: the point {one.id} is poisoned" in one.reason for one in refused)
    assert same(held(server, plan), [point for at, point in enumerate(POINTS) if at not in bad])


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_batch_is_halved(status: int, server: Running, plan: Plan, open_writer: Fill) -> None:
    writer = open_writer()
    server.inject(UPSERT, status=status)
    assert writer.write(POINTS) == []
    assert same(held(server, plan), POINTS)


def test_a_vector_of_another_size_is_refused_alone(server: Running, plan: Plan, open_writer: Fill) -> None:
    odd = replace(POINTS[3], vector=np.ones(5, np.float32))
    (refused,) = open_writer().write([*POINTS[:3], odd, *POINTS[4:]])
    assert refused.key == odd.payload["key"]
    assert "expected dim: 8, got 5" in refused.reason
    assert same(held(server, plan), [*POINTS[:3], *POINTS[4:]])


def test_a_server_that_takes_little_gets_little_at_a_time(server: Running, plan: Plan, open_writer: Fill) -> None:
    big = [replace(point, thumbnail=bytes(3000)) for point in POINTS]
    huge = replace(big[9], thumbnail=bytes(30_000))
    writer = open_writer()
    server.configure(body_limit=20_000)
    (refused,) = writer.write([*big[:9], huge, *big[10:]])
    assert refused.key == huge.payload["key"]
    assert "larger than allowed (20000)" in refused.reason
    assert same(held(server, plan), [*big[:9], *big[10:]])


def test_what_no_server_takes_is_not_sent(server: Running, plan: Plan, open_writer: Fill) -> None:
    huge = replace(POINTS[0], thumbnail=bytes(26 * 10**6))
    (refused,) = open_writer().write([huge, *POINTS[1:]])
    assert (refused.key, refused.reason[:8]) == (huge.payload["key"], "it takes")
    assert same(held(server, plan), POINTS[1:])


def test_a_server_that_refuses_everything_ends_the_run(
    server: Running, open_writer: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cbir.stores.qdrant.writer, "_MOST_REFUSED", 10)
    writer = open_writer()
    server.inject(UPSERT, times=9, status=400)
    assert len(writer.write(POINTS[:5])) == 5
    assert writer.write(POINTS[:5]) == [], "what it takes in between begins the count anew"
    server.inject(UPSERT, times=-1, status=400)
    assert len(writer.write(POINTS[:9])) == 9
    with pytest.raises(CbirError, match="injected by the test .so it said of 10 images in a row."):
        writer.write(POINTS[9:12])


def test_a_key_that_is_wrong_is_one_line(tmp_path: Path, photos: Path) -> None:
    with qdrant_server(api_key=KEY) as guarded:
        wrong = run_ingest(photos, guarded.url, tmp_path, QDRANT_API_KEY="not-this-key").wait_for()
        assert (wrong.code, len(wrong.err.splitlines())) == (1, 1)
        assert f"{guarded.url} answered 401" in wrong.err
        assert "check QDRANT_API_KEY" in wrong.err
        assert "not-this-key" not in wrong.err
        assert connect(guarded.url, Settings(QDRANT_API_KEY=KEY)).names() == []


@pytest.mark.parametrize("text", ["<html>", "[]", '{"result": {"collections": 3}}'])
def test_what_is_no_qdrant_is_named(text: str) -> None:
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as other:
        threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.02}).start()
        start = time.monotonic()
        with pytest.raises(CbirError, match="does not answer as a Qdrant server does"):
            connect(f"http://127.0.0.1:{other.server_port}", Settings()).names()
        assert time.monotonic() - start < 1, "it was asked again"
        other.shutdown()


# The size of requests


def test_requests_stay_below_five_megabytes(server: Running, plan: Plan, open_writer: Fill) -> None:
    vectors = unit_vectors(300, dimension=1280)
    wide = replace(plan, model=replace(plan.model, dimension=1280))
    points = [replace(point, thumbnail=bytes(3000)) for point in points_of(vectors)]
    points[150] = replace(points[150], thumbnail=bytes(6_000_000))
    writer = open_writer(model=wide.model)
    before = server.stats()
    assert writer.write(points[:150]) == writer.write(points[151:]) == []
    after = server.stats()
    assert 3_500_000 < after.largest_body < 5_000_000
    assert after.requests["PUT /collections/{}/points"] - before.requests.get("PUT /collections/{}/points", 0) == 4
    assert writer.write(points[150:151]) == [], "a single point that is larger goes alone"
    assert len(held(server, plan)) == 300


@given(
    numbers=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=30),
    note=st.text(st.characters(exclude_categories=["Cs"])),
    copies=st.integers(1, 50),
)
def test_a_request_is_no_larger_than_was_reckoned(numbers: list[float], note: str, copies: int) -> None:
    point = replace(POINTS[0], vector=np.array(numbers, np.float32), payload={**POINTS[0].payload, "note": note})
    structs = [cbir.stores.qdrant.writer._struct(point)] * copies
    ((batch, most),) = cbir.stores.qdrant.writer._batches(structs)
    assert len(models.PointsList(points=batch).model_dump_json(exclude_unset=True).encode()) <= most


# Collections, their aliases, and what readers see


def test_readers_see_a_collection_when_it_is_complete(server: Running, plan: Plan, open_writer: Fill) -> None:
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


def test_a_collection_opened_by_default_is_the_newest(server: Running, open_writer: Fill, plan: Plan) -> None:
    for number in ("1", "2"):
        writer = open_writer(dataset=f"{plan.dataset}-{number}", collection=f"{plan.collection}-{number}")
        writer.write(POINTS[:1])
        publish(writer)
    open_writer(collection=f"{plan.collection}-half").write(POINTS)
    assert open_store(server.url, None, Settings()).info.collection == f"{plan.collection}-2"


def test_a_run_goes_on_where_one_stopped(server: Running, plan: Plan, open_writer: Fill) -> None:
    open_writer().write(POINTS[:10])
    again = open_writer()
    assert (again.resumed, len(again.stored_ids), again.needs_publishing) == (10, 10, True)
    again.write(POINTS[10:])
    publish(again)
    third = open_writer()
    assert (third.resumed, len(third.stored_ids), third.needs_publishing) == (0, COUNT, False)


def test_deleting(server: Running, plan: Plan, open_writer: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cbir.stores.qdrant.writer, "_IDS_AT_ONCE", 3)
    writer = open_writer()
    writer.write(POINTS)
    server.configure(faults=[Fault("delete", status=503), Fault("delete", reset=True)])
    writer.delete([point.id for point in POINTS[:7]])
    assert same(held(server, plan), POINTS[7:])
    writer.delete([])


def test_another_that_makes_the_collection_first_is_no_obstacle(server: Running, plan: Plan, open_writer: Fill) -> None:
    server.inject(f"PUT /collections/{plan.collection}$", reset=True)  # made, but the answer is lost
    assert open_writer().write(POINTS) == []
    assert same(held(server, plan), POINTS)


def test_a_name_that_is_taken(server: Running, plan: Plan, open_writer: Fill, caplog: pytest.LogCaptureFixture) -> None:
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
    with pytest.raises(UsageError, match="no collection .* of cbir's"):
        connect(server.url, Settings()).drop(plan.dataset)
    assert client.collection_exists(plan.dataset)


def test_dropping(server: Running, plan: Plan, open_writer: Fill) -> None:
    writer = open_writer()
    publish(writer)
    with pytest.raises(UsageError, match=f"is an alias of {plan.collection}"):
        connect(server.url, Settings()).drop(plan.dataset)
    with pytest.raises(UsageError, match=f"is an alias of {plan.collection}"):
        open_writer(collection=plan.dataset)
    connect(server.url, Settings()).drop(plan.collection)
    assert plan.dataset not in aliases(server)
    with pytest.raises(UsageError, match=f"has no collection {plan.collection} of cbir's; it has: "):
        open_store(server.url, plan.collection, Settings())


def test_what_an_older_version_filled_still_works(server: Running, plan: Plan, open_writer: Fill) -> None:
    record = {"dataset": plan.dataset, "source": plan.source, "created": "2025-01-01T00:00:00+00:00"}
    model = {"name": "made-up", "sha256": "0" * 64, "dimension": 8, "preprocessing": 1, "random_weights": True}
    server.client().create_collection(
        plan.collection,
        vectors_config=models.VectorParams(size=8, distance=models.Distance.COSINE),
        metadata={METADATA: {**record, "model": model}},
    )
    assert plan.collection in names(server)
    writer = open_writer()
    assert (writer.resumed, writer.needs_publishing) == (0, True)
    publish(writer)
    assert aliases(server)[plan.dataset] == plan.collection


def test_another_model_or_source_is_refused(open_writer: Fill, plan: Plan) -> None:
    open_writer()
    with pytest.raises(UsageError, match="was made with the model"):
        open_writer(model=replace(plan.model, sha256="2" * 64))
    with pytest.raises(UsageError, match="was filled from nowhere"):
        open_writer(source="elsewhere")


# Options in the URL


def test_options_are_those_of_the_collection(server: Running, plan: Plan, open_writer: Fill) -> None:
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


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?colour=red", "unknown option 'colour'; a server has shards, replicas, "),
        ("?shards=0", "shards: Input should be greater"),
        ("?m=many", "m: Input should be a valid integer"),
        ("?quantization=half", "quantization: Input should be 'scalar', 'product', 'binary' or 'turbo'"),
        ("?on_disk=perhaps", "on_disk: Input should be a valid boolean"),
        ("?api_key=secret", "unknown option 'api_key'"),
    ],
)
def test_a_wrong_option_is_refused(query: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        server_options(parse(f"http://me:secret@localhost:6333{query}"))
    assert "secret" not in str(caught.value)


# Whole runs


@pytest.fixture(scope="module")
def photos(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 12 pictures."""
    root = tmp_path_factory.mktemp("few") / "photos"
    for path in sorted(photo_folder.rglob("*.png"))[::25][:12]:
        place = root / path.relative_to(photo_folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    return root


@pytest.fixture(scope="module")
def clean(photos: Path, model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """What one undisturbed run stores of them in the embedded engine."""
    root = tmp_path_factory.mktemp("clean") / "index"
    ingest(open_source(str(photos), SourceOptions()), catalogs(f"edge:{root}"), model_file, Settings())
    return open_store(f"edge:{root}", None, Settings())


class Run:
    """A `cbir-ingest` in a process of its own."""

    def __init__(self, arguments: list[str], environment: dict[str, str]):
        command = [sys.executable, "-m", "cbir.ingest.command", *arguments]
        self._process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def wait_for(self) -> "Run":
        self.out, self.err = self._process.communicate(timeout=60)
        self.code = self._process.returncode
        return self


def run_ingest(photos: Path, url: str, tmp_path: Path, *arguments: str, **environment: str) -> Run:
    return Run([str(photos), "--store", url, *arguments], {"CBIR_CACHE": str(tmp_path / "cache"), **environment})


def test_a_run_with_faults_stores_what_the_embedded_engine_stores(
    server: Running, photos: Path, clean: Store, model_file: Path, tmp_path: Path
) -> None:
    source, options = open_source(str(photos), SourceOptions()), Settings(cache=tmp_path)
    lost = [Fault("PUT /collections/[^/]*$", status=503), Fault("aliases", reset=True)]
    server.configure(faults=[*lost, Fault(UPSERT, times=2, status=503), Fault(UPSERT, reset=True)])
    summary = ingest(source, catalogs(server.url), model_file, options)
    assert (summary.stored, summary.skipped) == (12, 0)
    store = open_store(server.url, summary.collection, options)
    points = list(clean.points())
    assert same({point.id: point for point in store.points()}, points)
    assert connect(server.url, options).resolve("photos") == summary.collection
    found, expected = (one.search(points[0].vector[None], 5)[0] for one in (store, clean))
    assert [hit.id for hit in found] == [hit.id for hit in expected]
    again = ingest(source, catalogs(server.url), model_file, options)
    assert (again.stored, again.unchanged) == (0, 12)


def test_two_runs_into_one_collection_both_succeed(server: Running, photos: Path, clean: Store, tmp_path: Path) -> None:
    runs = [run_ingest(photos, server.url, tmp_path, "--collection", "both") for _ in range(2)]
    for run in runs:
        assert run.wait_for().code == 0, run.err
    both = open_store(server.url, "both", Settings())
    assert same({point.id: point for point in both.points()}, list(clean.points()))
