"""`cbir-bench plan`: formulas against known values, what was measured in what is planned, and a check that builds."""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cbir.bench import command
from cbir.bench.capacity import predict
from cbir.bench.capacity.pictures import Pictures, time_pictures
from cbir.bench.capacity.plan import (
    LAYOUTS,
    Asked,
    Sizing,
    disk_bytes,
    parse_count,
    plan_notes,
    ram_bytes,
    shard_count,
    size,
)
from cbir.bench.capacity.predict import Probe, Probed, check_engines
from cbir.bench.capacity.predict import predict as predicted
from cbir.bench.capacity.probe import Costs, Run, write_log
from cbir.bench.capacity.view import amount, duration, number, short
from cbir.bench.core.measured_process import apart
from cbir.bench.core.stores import engine_of
from cbir.bench.core.synthetic import clustered, made_up_images
from hypothesis import given
from hypothesis import strategies as st

from cbir.errors import CbirError, UsageError
from cbir.index.vector_log import VectorLog
from cbir.models.embedder import Embedder
from cbir.models.runtime import cores
from cbir.settings import Settings
from cbir.stores.embedded import faiss_index
from cbir.stores.embedded.build import peak_memory
from cbir.stores.qdrant.server import server_options
from cbir.stores.url import parse
from tests.support.running import Program, runner

PICTURES = Pictures(100, "made up", 0.01, 50_000.0, 6_000.0, 150.0, 8.0)
HALF = Run(20_000, Costs(10.0, 25e6, 270e6, 200e6, 1.0), 2.0, 6.0, "graph", 1.0)
WHOLE = Run(40_000, Costs(24.0, 50e6, 345e6, 225e6, 1.2), 4.0, 13.0, "graph", 1.0)
EDGE, FAISS = Probed("edge", "edge", 256, HALF, WHOLE), Probed("faiss HNSW16", "faiss", 256, HALF, WHOLE)
PROBE = Probe(1300.0, [EDGE, FAISS])
ASKED = Asked(256, None, 128e9, 2)
COUNTS = st.integers(1, 10**10)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    """Run the command line in this process and return exit code, output and errors."""
    return runner(monkeypatch, capsys, command.main, "cbir-bench", "plan")


def sizing(images: int, asked: Asked = ASKED, pictures: Pictures = PICTURES, probe: Probe = PROBE) -> Sizing:
    return size(images, asked, pictures, probe)


def numbers(thing: Any) -> Iterator[float]:
    if isinstance(thing, dict):
        thing = list(thing.values())
    if isinstance(thing, list | tuple):
        for one in thing:
            yield from numbers(one)
    elif isinstance(thing, int | float):
        yield thing


# Known values


def test_the_worked_example_of_qdrants_guide() -> None:
    """A million points of 768 dimensions in RAM, two replicas: 6.11 GiB, and 7.33 to plan for."""
    bare = replace(PICTURES, thumbnail_bytes=0.0, payload_bytes=0.0, label_bytes=0.0)
    ram = 2_000_000 * ram_bytes(LAYOUTS[0], replace(ASKED, dimension=768), bare)
    assert ram / 2**30 == pytest.approx(7.33, abs=0.02)
    planned = size(10**6, replace(ASKED, dimension=768, replicas=2), bare, PROBE)
    assert planned.servers[0].ram_bytes == ram
    assert planned.rule_of_thumb_bytes == 10**6 * 768 * 4 * 1.5


def test_layouts_in_ram() -> None:
    full, int8, disk = (ram_bytes(layout, ASKED, replace(PICTURES, label_bytes=0.0)) for layout in LAYOUTS)
    assert full - int8 == pytest.approx(256 * 3 * 1.2)  # 4 bytes a dimension against 1
    assert int8 - disk == pytest.approx((256 + 16 * 2 * 4 * 1.2) * 1.2)
    assert disk == pytest.approx(52 * 1.2)


def test_the_disk_holds_everything() -> None:
    full, int8, disk = (disk_bytes(layout, ASKED, PICTURES) for layout in LAYOUTS)
    assert full == disk
    assert int8 - full == pytest.approx(256 * 1.2)  # the copy is kept beside the originals
    without = disk_bytes(LAYOUTS[0], ASKED, replace(PICTURES, thumbnail_bytes=0.0))
    assert full - without == pytest.approx(6000 * 4 / 3 * 1.5 * 1.2)


def test_a_graph_grows_by_n_log_n_and_a_file_in_a_line() -> None:
    million = predicted(EDGE, 10**6)
    depth = math.log(10**6) / math.log(40_000)
    assert million.core_seconds == pytest.approx(25 * (4 + 20 * depth))
    assert million.search_milliseconds == pytest.approx(1.2 * depth)
    assert million.disk_bytes == pytest.approx(1250 * 10**6)
    assert million.build_bytes == pytest.approx(345e6 + 3750 * 960_000)
    assert million.serve_bytes == pytest.approx(225e6 + (1250 + 32) * 960_000)
    scan = replace(EDGE, half=replace(HALF, access="scan"), whole=replace(WHOLE, access="scan"))
    assert predicted(scan, 400_000).core_seconds == pytest.approx(240)
    assert predicted(scan, 400_000).search_milliseconds == pytest.approx(12)


def test_faiss_needs_twice_its_last_full_vector() -> None:
    assert predict.FAISS_CHUNK == faiss_index._CHUNK
    allotted = {5_000: 5_000, 10_000: 10_000, 20_000: 20_000, 100_000: 160_000, 160_000: 160_000, 10**6: 1_280_000}
    for points, expected in allotted.items():
        assert predict._allotted(points) == expected
    assert predicted(FAISS, 10**6).build_bytes == pytest.approx(345e6 + 1250 * (1_280_000 - 40_000))


@pytest.mark.parametrize("engine", [EDGE, FAISS], ids=lambda one: one.kind)
def test_what_was_measured_is_predicted_of_itself(engine: Probed) -> None:
    assert predicted(engine, WHOLE.points) == WHOLE.costs


# What is planned


@given(COUNTS, COUNTS)
def test_more_images_never_take_less(one: int, other: int) -> None:
    few, many = sizing(min(one, other)), sizing(max(one, other))
    assert few.recommended.nodes <= many.recommended.nodes
    for name in ("vector_bytes", "log_bytes", "embedding_core_hours", "replicas"):
        assert getattr(few, name) <= getattr(many, name)
    for less, more in zip(few.servers, many.servers, strict=True):
        assert less.ram_bytes <= more.ram_bytes
        assert less.nodes <= more.nodes
    for name, costs in few.engines.items():
        for field in fields(Costs):
            assert getattr(costs, field.name) <= getattr(many.engines[name], field.name) * (1 + 1e-9), field.name


@pytest.mark.parametrize("figure", ["core_seconds", "thumbnail_bytes", "payload_bytes", "label_bytes"])
def test_every_figure_of_a_picture_counts(figure: str) -> None:
    more = replace(PICTURES, **{figure: 2 * getattr(PICTURES, figure)})
    before, after = (list(numbers(asdict(sizing(10**6, pictures=one)))) for one in (PICTURES, more))
    assert before != after
    assert all(one <= other for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize("figure", [field.name for field in fields(Costs)])
def test_every_figure_of_an_index_counts(figure: str) -> None:
    def doubled(run: Program) -> Program:
        return replace(run, costs=replace(run.costs, **{figure: 2 * getattr(run.costs, figure)}))

    probe = replace(PROBE, engines=[replace(EDGE, half=doubled(HALF), whole=doubled(WHOLE))])
    before, after = (getattr(sizing(10**6, probe=one).engines["edge"], figure) for one in (PROBE, probe))
    assert after > before


def test_the_log_and_the_number_of_cores_count() -> None:
    assert sizing(10**6, probe=replace(PROBE, log_bytes=1400.0)).log_bytes == sizing(10**6).log_bytes + 1e8
    assert sizing(10**6, replace(ASKED, cores=8)).hours[8] == pytest.approx(sizing(10**6).hours[2] / 4)


@given(COUNTS, st.none() | st.integers(1, 5), st.integers(32, 4096), st.floats(8e9, 2e12))
def test_a_recommendation_can_be_made(images: int, replicas: int | None, dimension: int, node_bytes: float) -> None:
    planned = sizing(images, Asked(dimension, replicas, node_bytes, 2))
    options = server_options(parse(planned.url))
    chosen = next(one for one in LAYOUTS if one.name == planned.recommended.layout)
    assert (options.shards or 1, options.replicas or 1) == (planned.shards, planned.replicas)
    assert (options.on_disk, options.quantization) == ("on_disk" in chosen.options, chosen.options.get("quantization"))
    assert planned.replicas == (replicas or planned.replicas)
    assert planned.recommended.nodes >= planned.replicas, "two replicas of a shard cannot be on one node"
    assert planned.recommended.ram_bytes <= planned.recommended.nodes * node_bytes * 0.8
    assert planned.shards % planned.recommended.nodes == 0, "a node would have more than another"


def test_settings_by_size() -> None:
    one, hundred, thousand = (sizing(count, replace(ASKED, dimension=1280)) for count in (10**6, 10**8, 10**9))
    assert one.url == "http://HOST:6333"
    assert hundred.url.endswith("?shards=12&replicas=2&on_disk=1&quantization=scalar")
    assert thousand.recommended.nodes >= 20, "a node takes some hundred million points"
    assert thousand.shards >= 2 * thousand.recommended.nodes
    assert [shard_count(10**8, nodes) for nodes in (1, 3, 4, 5, 6, 12)] == [12, 12, 12, 10, 12, 24]


def test_another_dimension_than_the_models_is_said(embedder: Embedder) -> None:
    said = " ".join(plan_notes(ASKED, embedder.card, [sizing(10**6)]))
    assert "vectors of 256" in said
    assert "Quantized" not in said
    assert "Quantized" in " ".join(plan_notes(ASKED, embedder.card, [sizing(10**9)]))


# What is measured


def test_pictures_are_measured(embedder: Embedder, photo_folder: Path) -> None:
    items = made_up_images(8, 64, 48)
    broken = replace(items[0], read=lambda: b"no picture")
    pictures, payload = time_pictures([*items, broken], "here", embedder, Settings())
    assert pictures.count == 8
    assert pictures.file_bytes == pytest.approx(np.mean([len(item.read()) for item in items]))
    assert 0 < pictures.core_seconds < 10
    assert pictures.label_bytes == len("class 0")
    assert set(payload) == {"key", "label", "sha256"}
    with pytest.raises(UsageError, match="none of its first 1 pictures"):
        time_pictures([broken], "here", embedder, Settings())


def test_made_up_vectors_are_those_of_their_seed_and_have_neighbours() -> None:
    vectors = clustered(2000, 64, 1)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert np.array_equal(vectors, clustered(2000, 64, 1))
    assert not np.array_equal(vectors, clustered(2000, 64, 2))
    best = np.sort(vectors[:100] @ vectors.T, axis=1)[:, -2]
    assert np.median(best) > 0.6, "independent vectors have none above 0.5"


def test_the_log_is_a_real_one(tmp_path: Path) -> None:
    size_ = write_log(tmp_path / "log", 2500, 32, {"label": "cat"})
    log = VectorLog(tmp_path / "log", 32)
    assert len(log) == 2500
    assert log.payload(7) == {"label": "cat", "key": "7"}
    assert size_ == sum(path.stat().st_size for path in (tmp_path / "log").iterdir())


def test_a_process_that_dies_is_one_line() -> None:
    with pytest.raises(CbirError, match="ended with code 3"):
        apart(os._exit, 3)


def test_a_child_has_a_memory_of_its_own() -> None:
    block = np.ones(40_000_000)  # 320 MB
    here, there = peak_memory(), apart(peak_memory)
    assert here > block.nbytes
    assert there < here / 2


@pytest.mark.bench
def test_a_check_builds_and_compares(run: Program, tmp_path: Path) -> None:
    code, out, _ = run("--check", 5000, "--dimension", 32, "--json", tmp_path / "check.json")
    assert code == 0
    result = json.loads((tmp_path / "check.json").read_text())
    edge, faiss = result["checks"]
    for one in (edge, faiss):
        assert one["measured"]["points"] == 5000
        assert one["measured"]["recall"] > 0.95
        assert 1 / 1.15 < one["factors"]["disk_bytes"] < 1.15
        assert set(one["missed"]) <= {"core_seconds", "search_milliseconds", "build_bytes", "serve_bytes"}
        assert one["name"] in out
    assert (edge["measured"]["access"], faiss["measured"]["access"]) == ("scan", "graph")
    assert "WARNING: for a prediction with meaning" in " ".join(out.split())
    assert [engine["whole"]["points"] for engine in result["probe"]["engines"]] == [1000, 1000]


def test_a_plan_is_of_this_machine(
    run: Program, photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "PROBE_BYTES", 2000 * 4 * 64)
    options = ("--dimension", 64, "--data", photo_folder, "--store", "faiss:.?index=HNSW8", "--json", tmp_path / "p")
    code, out, _ = run("20K", "1B", *options)
    assert code == 0
    result = json.loads((tmp_path / "p").read_text())
    measured = result["probe"]["engines"][0]["whole"]
    assert (measured["points"], measured["access"]) == (2000, "graph")
    few, many = result["plans"]
    assert [few["images"], many["images"]] == [20_000, 10**9]
    assert few["embedding_core_hours"] == pytest.approx(20_000 * result["pictures"]["core_seconds"] / 3600)
    assert str(cores()) in few["hours"]
    assert result["pictures"]["count"] == 256
    for text in ("20 K", "1 B", "faiss HNSW8", many["url"], "efficientnet_lite0 gives 1280 dimensions"):
        assert text in " ".join(out.split()), text
    assert "edge" not in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["many"], "'many' is no number of images"),
        (["0"], "'0' is no number of images"),
        (["5", "--check", "5"], "leave out the numbers"),
        (["--check", "-1"], "'-1' is no number of images"),
        (["--dimension", "8"], "--dimension"),
        (["--store", "http://localhost:6333"], "is a server, and not measured here"),
        (["--store", "milvus:."], "unknown store"),
        (["--store", "faiss:.?index=Nonsense"], "FAISS knows no index"),
        (["--data", "./nowhere"], "does not exist"),
        (["--model", "nothing"], "no model 'nothing'"),
        (["--json", "./no/folder/file"], "name a file in a folder"),
    ],
)
def test_misuse_is_one_line(arguments: list[str], told: str, run: Program) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    (line,) = [line for line in err.splitlines() if line.startswith("error")]
    assert told in line


def test_a_check_that_no_disk_holds_is_refused() -> None:
    with pytest.raises(UsageError, match="set TMPDIR to a larger disk"):
        check_engines([engine_of(url, 256) for url in ("edge:.", "faiss:.")], PROBE, 10**12, lambda done: None)


def test_texts() -> None:
    assert [parse_count(one) for one in ("250000", "1_000", "10M", "1.5b")] == [250_000, 1000, 10**7, 15 * 10**8]
    assert [short(one) for one in (10**9, 1_500_000, 2000, 12_345)] == ["1 B", "1.5 M", "2 K", "12,345"]
    assert [duration(one) for one in (0.01, 0.5, 5.0, 1000.0)] == ["36 s", "30 min", "5 h", "42 days"]
    assert [number(one) for one in (0.26789, 4.4561, 4456.1)] == ["0.268", "4.46", "4,456"]
    assert [amount(one) for one in (10, 1234, 5.12e9, 999.9e9)] == ["10 B", "1.23 kB", "5.12 GB", "1 TB"]
    engines = [engine_of(url, 64) for url in ("edge:.?m=32", "faiss:.?index=Flat&ef=9", "faiss:.")]
    assert [one.name for one in engines] == ["edge m=32", "faiss Flat ef=9", "faiss HNSW16"]
