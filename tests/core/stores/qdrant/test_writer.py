"""A server being filled: it loses nothing, whatever the network does, and one bad image costs no other."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
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
from cbir.records import old_digest
from cbir.settings import Settings
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source
from cbir.stores.base import Store
from cbir.stores.qdrant.writer import QdrantWriter
from cbir.stores.registry import connect, open_store
from tests.support.building import catalogs, points_of, unit_vectors
from tests.support.faults import Fault
from tests.support.grpc_server import Port, grpc_port
from tests.support.qdrant_points import COUNT, KEY, NOWHERE, POINTS, UPSERT, OpenWriter, held, publish, same, writer_at
from tests.support.qdrant_server import Running, qdrant_server

pytestmark = [
    # What the modules filter, where pytest resets the filters.
    pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection"),
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bad=st.sets(st.integers(0, COUNT - 1), max_size=6))
def test_an_image_never_shares_the_fate_of_its_batch(
    bad: set[int], server: Running, plan: Plan, open_writer: OpenWriter
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
def test_a_refused_batch_is_halved(status: int, server: Running, plan: Plan, open_writer: OpenWriter) -> None:
    writer = open_writer()
    server.inject(UPSERT, status=status)
    assert writer.write(POINTS) == []
    assert same(held(server, plan), POINTS)


def test_a_vector_of_another_size_is_refused_alone(server: Running, plan: Plan, open_writer: OpenWriter) -> None:
    odd = replace(POINTS[3], vector=np.ones(5, np.float32))
    (refused,) = open_writer().write([*POINTS[:3], odd, *POINTS[4:]])
    assert refused.key == odd.payload["key"]
    assert "expected dim: 8, got 5" in refused.reason
    assert same(held(server, plan), [*POINTS[:3], *POINTS[4:]])


def test_a_server_that_takes_little_gets_little_at_a_time(server: Running, plan: Plan, open_writer: OpenWriter) -> None:
    big = [replace(point, thumbnail=bytes(3000)) for point in POINTS]
    huge = replace(big[9], thumbnail=bytes(30_000))
    writer = open_writer()
    server.configure(body_limit=20_000)
    (refused,) = writer.write([*big[:9], huge, *big[10:]])
    assert refused.key == huge.payload["key"]
    assert "larger than allowed (20000)" in refused.reason
    assert same(held(server, plan), [*big[:9], *big[10:]])


def test_what_no_server_takes_is_not_sent(server: Running, plan: Plan, open_writer: OpenWriter) -> None:
    huge = replace(POINTS[0], thumbnail=bytes(26 * 10**6))
    (refused,) = open_writer().write([huge, *POINTS[1:]])
    assert (refused.key, refused.reason[:8]) == (huge.payload["key"], "it takes")
    assert same(held(server, plan), POINTS[1:])


def test_a_server_that_refuses_everything_ends_the_run(
    server: Running, open_writer: OpenWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cbir.stores.qdrant.writer, "_MOST_REFUSED", 10)
    writer = open_writer()
    server.inject(UPSERT, times=9, status=400)
    assert len(writer.write(POINTS[:5])) == 5
    assert writer.write(POINTS[:5]) == [], "what it takes in between begins the count anew"
    server.inject(UPSERT, times=-1, status=400)
    assert len(writer.write(POINTS[:9])) == 9
    with pytest.raises(CbirError, match="injected by the test .the same for 10 images in a row."):
        writer.write(POINTS[9:12])


def test_requests_stay_below_five_megabytes(server: Running, plan: Plan, open_writer: OpenWriter) -> None:
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


def test_a_run_goes_on_where_one_stopped(server: Running, plan: Plan, open_writer: OpenWriter) -> None:
    open_writer().write(POINTS[:10])
    again = open_writer()
    assert (again.resumed, len(again.stored_ids), again.needs_publishing) == (10, 10, True)
    again.write(POINTS[10:])
    publish(again)
    third = open_writer()
    assert (third.resumed, len(third.stored_ids), third.needs_publishing) == (0, COUNT, False)


def test_deleting(server: Running, plan: Plan, open_writer: OpenWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cbir.stores.qdrant.writer, "_IDS_AT_ONCE", 3)
    writer = open_writer()
    writer.write(POINTS)
    server.configure(faults=[Fault("delete", status=503), Fault("delete", reset=True)])
    writer.delete([point.id for point in POINTS[:7]])
    assert same(held(server, plan), POINTS[7:])
    writer.delete([])


def test_another_that_makes_the_collection_first_is_no_obstacle(
    server: Running, plan: Plan, open_writer: OpenWriter
) -> None:
    server.inject(f"PUT /collections/{plan.collection}$", reset=True)  # made, but the answer is lost
    assert open_writer().write(POINTS) == []
    assert same(held(server, plan), POINTS)


def test_another_model_or_source_is_refused(open_writer: OpenWriter, plan: Plan) -> None:
    open_writer()
    with pytest.raises(UsageError, match="was made with the model"):
        open_writer(model=replace(plan.model, sha256="2" * 64))
    with pytest.raises(UsageError, match="was filled from nowhere"):
        open_writer(source="elsewhere")


def test_a_bad_point_is_found_by_halving(port: Port, writer: QdrantWriter) -> None:
    port.engine.behaviour = replace(port.engine.behaviour, poisoned=[POINTS[7].id])
    (refused,) = writer.write(POINTS)
    assert (refused.id, "is poisoned" in refused.reason) == (POINTS[7].id, True)
    (odd,) = writer.write([replace(POINTS[7], id=POINTS[8].id, vector=np.ones(5, np.float32))])
    assert odd.id == POINTS[8].id
    port.faults = [Fault("Upsert", status="OUT_OF_RANGE", details="decoded message length too large")]
    assert writer.write(POINTS[8:]) == []


def test_a_port_that_takes_little_gets_little_at_a_time() -> None:
    with grpc_port(receives=20_000) as port:
        big = [replace(point, thumbnail=bytes(3000)) for point in POINTS[:6]]
        big[4] = replace(big[4], thumbnail=bytes(30_000))
        (refused,) = writer_at(f"{NOWHERE}?grpc={port.number}").write(big)
    assert (refused.id, "larger than max" in refused.reason) == (POINTS[4].id, True)


def test_a_large_request_passes(writer: QdrantWriter) -> None:
    large = replace(POINTS[0], thumbnail=bytes(23_000_000))
    assert writer.write([large]) == []
    assert [thumbnail for _, thumbnail in writer.thumbnails()] == [large.thumbnail]


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
        self.out, self.err = self._process.communicate(timeout=300)
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


def test_digests_of_an_older_version_are_known(server: Running, photos: Path, model_file: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "photos")
    rows = tmp_path / "rows.jsonl"
    paths = [path.relative_to(tmp_path) for path in (tmp_path / "photos").rglob("*.png")]
    rows.write_text("".join(json.dumps({"path": str(path), "price": i / 2}) + "\n" for i, path in enumerate(paths)))

    def run() -> tuple[int, int]:
        source = open_source(str(rows), SourceOptions())
        summary = ingest(source, catalogs(server.url), model_file, Settings(cache=tmp_path), "older")
        return summary.stored, summary.unchanged

    assert run() == (12, 0)
    client = server.client()
    for point in client.scroll("older", limit=12)[0]:
        payload = {name: value for name, value in (point.payload or {}).items() if not name.startswith("cbir_")}
        payload["price"] = float(payload["price"])
        own = {"cbir_version": "of another time", "cbir_digest": old_digest(payload)}
        client.set_payload("older", own, points=[point.id])
    assert run() == (0, 12)


def test_two_runs_into_one_collection_both_succeed(server: Running, photos: Path, clean: Store, tmp_path: Path) -> None:
    runs = [run_ingest(photos, server.url, tmp_path, "--collection", "both") for _ in range(2)]
    for run in runs:
        assert run.wait_for().code == 0, run.err
    both = open_store(server.url, "both", Settings())
    assert same({point.id: point for point in both.points()}, list(clean.points()))


def test_a_key_that_is_wrong_is_one_line(tmp_path: Path, photos: Path) -> None:
    with qdrant_server(api_key=KEY) as guarded:
        wrong = run_ingest(photos, guarded.url, tmp_path, QDRANT_API_KEY="not-this-key").wait_for()
        assert (wrong.code, len(wrong.err.splitlines())) == (1, 1)
        assert f"{guarded.url} answered 401" in wrong.err
        assert "check QDRANT_API_KEY" in wrong.err
        assert "not-this-key" not in wrong.err
        assert connect(guarded.url, Settings(QDRANT_API_KEY=KEY)).names() == []
