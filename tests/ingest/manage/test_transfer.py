"""Collections copied between stores: Edge, FAISS and a server over real HTTP, killed, changed, damaged and misused."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cbir.ingest.manage.snapshot import restore, snapshot
from cbir.ingest.manage.transfer import Transfer, copy

import cbir.stores.embedded.making
from cbir.errors import CbirError, UsageError
from cbir.index.generation import Plan, open_generation
from cbir.index.names import alias_of
from cbir.models.card import ModelRef
from cbir.models.sealed import checksum_of, find_model, read_sealed
from cbir.pipeline.writers import open_targets, publish_all
from cbir.progress import silent
from cbir.records import Point, digest
from cbir.settings import MAX_MEGAPIXELS, Settings
from cbir.stores.listing import CollectionInfo
from cbir.stores.registry import connect, open_store
from tests.support.building import DIMENSION, both, build_here, catalogs, points_of, unit_vectors
from tests.support.faults import Fault
from tests.support.ingesting import COMMAND, run
from tests.support.killing import Trial, contents
from tests.support.qdrant_server import Running, qdrant_server

COUNT = 2100
VECTORS = unit_vectors(COUNT)
POINTS = points_of(VECTORS)
FEW = POINTS[:50]
FILE = find_model("efficientnet_lite0")
MODEL = ModelRef("efficientnet_lite0", checksum_of(read_sealed(FILE)), DIMENSION, 1, False)


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Journals in the test's folder; engines are built in this process."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(cbir.stores.embedded.making, "build_engine", build_here)


@pytest.fixture(scope="module")
def servers() -> Iterator[list[Running]]:
    with qdrant_server() as one, qdrant_server() as two:
        yield [one, two]


@pytest.fixture
def server(servers: list[Running]) -> Iterator[Running]:
    yield servers[0]
    clear(servers[0])


@pytest.fixture
def other(servers: list[Running]) -> Iterator[Running]:
    yield servers[1]
    clear(servers[1])


def clear(server: Running) -> None:
    server.configure()
    client = server.client()
    for one in client.get_collections().collections:
        client.delete_collection(one.name)
    client.close()


def store(
    stores: Sequence[str],
    points: Sequence[Point],
    collection: str = "made",
    dataset: str = "set",
    model: ModelRef = MODEL,
    complete: bool = True,
    gone: Sequence[str] = (),
) -> None:
    """What an ingest does with embedded points."""
    plan = Plan(collection, dataset, "nowhere", model, None)
    with open_targets(catalogs(*stores), plan, FILE, MAX_MEGAPIXELS) as targets:
        for target in targets:
            target.write(points, [])
            target.delete(gone)
            target.flush()
        if complete:
            publish_all(targets, silent)


def copied(
    source: str,
    *stores: str,
    names: Sequence[str] = (),
    rename: str | None = None,
    model: Path | None = None,
    delete_extra: bool = False,
) -> list[Transfer]:
    return list(copy(source, stores, names, rename, Settings(), model, delete_extra))


def listed(url: str) -> list[CollectionInfo]:
    return list(connect(url, Settings()).listing())


def server_aliases(server: Running) -> dict[str, str]:
    client = server.client()
    found = {alias.alias_name: alias.collection_name for alias in client.get_aliases().aliases}
    client.close()
    return found


def server_collections(server: Running) -> list[str]:
    return connect(server.url, Settings()).names()


def require(url: str, points: Sequence[Point], collection: str = "made") -> None:
    """A store holds these very points, and nothing else."""
    found = contents(url, collection)
    assert sorted(map(described, found.values())) == sorted(map(described, points))
    vectors = [found[point.id].vector for point in points]
    assert np.allclose(vectors, [point.vector for point in points], atol=1e-6)


def described(point: Point) -> tuple[str, str, str, bytes, str]:
    return point.id, json.dumps(dict(point.payload), sort_keys=True), point.version, point.thumbnail, point.digest


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with many points, which tests only read."""
    root = tmp_path_factory.mktemp("many") / "index"
    store([f"faiss:{root}?index=Flat"], POINTS)
    return f"edge:{root}"


# From everywhere to everywhere


def test_a_folder_goes_to_a_server_and_comes_back_into_both_engines(
    server: Running, index: str, tmp_path: Path
) -> None:
    (there,) = copied(index, server.url)
    assert there == Transfer("made", COUNT, COUNT, 0, 1000)
    require(server.url, POINTS)
    assert server_aliases(server) == {"set": "made"}
    (back,) = copied(server.url, *both(tmp_path / "back"))
    assert back == there
    for url in both(tmp_path / "back"):
        require(url, POINTS)
    roots = Path(index.removeprefix("edge:")), tmp_path / "back"
    generations = [open_generation(root, "made") for root in roots]
    assert len({one.manifest.ids_sha256 for one in generations}) == 1
    assert generations[1].manifest.source == "nowhere"
    assert (generations[1].folder / "model.onnx").read_bytes() == FILE.read_bytes()
    again = copied(server.url, *both(tmp_path / "back"))
    assert again == [replace(back, written=0)]
    assert open_generation(tmp_path / "back", "made").folder.name == "000001"


def test_a_server_goes_to_a_server_without_its_model_file(server: Running, other: Running) -> None:
    theirs = replace(MODEL, name="not packaged", sha256="1" * 64)
    store([server.url], FEW, model=theirs)
    copied(server.url, other.url)
    require(other.url, FEW)
    assert open_store(other.url, "set", Settings()).info.model == theirs
    assert copied(server.url, server.url, rename="second") == [Transfer("second", 50, 50, 0, 50)]
    assert server_aliases(server) == {"set": "second"}, "what is completed last has the name"


def test_a_folder_goes_to_a_folder_by_the_log_alone(tmp_path: Path) -> None:
    store([f"faiss:{tmp_path}/index/flat?index=Flat", f"edge:{tmp_path}/index"], FEW)
    for path in (tmp_path / "index/made/000001/edge").rglob("*.*"):
        path.unlink()  # no index is read
    done = run("copy", f"edge:{tmp_path}/index", f"faiss:{tmp_path}/other?index=HNSW8", "--as", "second")
    assert done.stdout == "second: 50 points, 50 written, 0 removed, 50 compared completely\n"
    require(f"faiss:{tmp_path}/other", FEW, "second")
    found = open_store(f"faiss:{tmp_path}/other", "set", Settings())
    assert (found.info.collection, found.info.options["index"]) == ("second", "HNSW8")
    found.close()


def test_the_indexes_are_built_again_if_most_points_of_a_target_are_new(index: str, tmp_path: Path) -> None:
    url = f"faiss:{tmp_path}/index?index=Flat"
    store([url], FEW)
    copied(index, url)
    opened = open_store(url, "made", Settings())
    assert (opened.info.count, opened.info.indexed, opened.info.tail) == (COUNT, COUNT, 0)
    opened.close()


def test_all_collections_go_and_names_mean_what_they_meant(server: Running, tmp_path: Path) -> None:
    index = f"edge:{tmp_path}/index"
    for name, dataset, count in (("old", "set", 10), ("made", "set", 20), ("third", "others", 30)):
        store([index], POINTS[:count], name, dataset)
    connect(index, Settings()).use("old")
    moved = copied(index, server.url)
    assert [(one.collection, one.points) for one in moved] == [("made", 20), ("third", 30), ("old", 10)]
    assert server_aliases(server) == {"set": "old", "others": "third"}
    copied(server.url, *both(tmp_path / "back"))
    listing = listed(f"edge:{tmp_path}/back")
    assert {one.alias: one.collection for one in listing if one.alias} == {"set": "old", "others": "third"}

    connect(index, Settings()).use("made")
    assert [one.written for one in copied(index, server.url, f"edge:{tmp_path}/back", names=["made"])] == [0]
    assert server_aliases(server)["set"] == "made"
    assert alias_of("set", "made") == "set"
    opened = open_store(f"edge:{tmp_path}/back", "set", Settings())
    assert opened.info.collection == "made"
    opened.close()
    copied(index, server.url, names=["old"])
    assert server_aliases(server)["set"] == "made", "the older collection took the name"


# Again, after something changed


@pytest.mark.parametrize("kind", ["edge", "http"])
def test_a_second_copy_writes_what_changed_and_removes_only_when_told(
    kind: str, server: Running, tmp_path: Path
) -> None:
    index, target = f"edge:{tmp_path}/index", server.url if kind == "http" else f"edge:{tmp_path}/target"
    store([index], FEW)
    copied(index, target)
    changed = [replace(one, payload={**one.payload, "seen": True}) for one in FEW[:3]]  # of the same version
    changed = [replace(one, digest=digest(one.payload)) for one in changed]
    store([index], changed, gone=[point.id for point in FEW[40:]])
    assert [(one.written, one.removed) for one in copied(index, target)] == [(3, 0)]
    require(target, [*changed, *FEW[3:]])
    assert copied(index, target, delete_extra=True) == [Transfer("made", 40, 0, 10, 40)]
    require(target, [*changed, *FEW[3:40]])


def test_numbers_come_back_from_a_server_in_other_digits_and_order(server: Running, tmp_path: Path) -> None:
    """A server sorts the fields of a payload, and may read a number's last digit otherwise."""
    payload = {"key": "a", "label": None, "sha256": "b", "z": [1.1, {"y": 0.3}], "c": 5}
    points = [replace(FEW[0], payload=payload, digest=digest(payload))]
    store([f"edge:{tmp_path}/index"], points)
    store([server.url], [replace(points[0], payload={**dict(sorted(payload.items())), "z": [1.1, {"y": 0.1 + 0.2}]})])
    assert [one.written for one in copied(f"edge:{tmp_path}/index", server.url)] == [0]
    other = {**payload, "c": 6}
    store([f"edge:{tmp_path}/other"], [replace(points[0], payload=other)])
    with pytest.raises(CbirError, match="a has another payload"):
        copied(f"edge:{tmp_path}/other", server.url)


# Ended early


@pytest.mark.slow
def test_a_copy_into_a_folder_that_is_killed_anywhere_ends_as_an_undisturbed_one(index: str, tmp_path: Path) -> None:
    target = f"faiss:{tmp_path}/target?index=Flat"
    trial, rng = Trial(["copy", index, target], tmp_path / "trial", engines=1), random.Random(23)
    assert [trial.run(phase, rng, COUNT) for phase in ("upsert", "optimise", "publish")] == [True] * 3
    trial.run(None, rng)
    require(target, POINTS)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_copy_into_a_server_goes_on_where_it_was_ended(how: int, server: Running, index: str) -> None:
    def asked() -> int:
        return server.stats().requests.get("PUT /collections/{}/points", 0)

    before, written = asked(), server.stats().written
    server.configure(faults=[Fault("PUT .*/points$"), Fault("PUT .*/points$", times=-1, seconds=0.3, status=503)])
    process = subprocess.Popen([*COMMAND, "copy", index, server.url], stderr=subprocess.PIPE, text=True)
    while asked() < before + 2:
        assert process.poll() is None
        time.sleep(0.02)
    moment = time.monotonic()
    os.kill(process.pid, how)
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - moment < 15
    assert process.returncode == (-how if how == signal.SIGKILL else 130), errors
    server.configure()
    assert server_collections(server) == []
    assert server_aliases(server) == {}
    assert server.stats().written - written == 1000
    (moved,) = copied(index, server.url)
    assert moved.written == COUNT - 1000
    assert server.stats().written - written == COUNT, "a point was written twice"
    require(server.url, POINTS)
    assert server_aliases(server) == {"set": "made"}


# What is there is not what was copied


@pytest.mark.parametrize(
    ("kind", "what"), [("edge", "vector"), ("http", "vector"), ("http", "payload"), ("http", "thumbnail")]
)
def test_a_damaged_target_is_found_and_not_published(kind: str, what: str, server: Running, tmp_path: Path) -> None:
    index, target = f"edge:{tmp_path}/index", server.url if kind == "http" else f"edge:{tmp_path}/target"
    store([index], FEW)
    wrong = {"vector": np.roll(FEW[7].vector, 1), "payload": {**FEW[7].payload, "label": "?"}, "thumbnail": b"?"}
    store([target], [replace(FEW[7], **{what: wrong[what]})], complete=False)
    with pytest.raises(CbirError, match=f"7 has another {what}") as caught:
        copied(index, target)
    assert (caught.value.exit_code, type(caught.value)) == (1, CbirError)
    assert [one.state.split(":")[0].split(",")[0] for one in listed(target)] == ["unfinished"]
    connect(target, Settings()).drop("made")
    copied(index, target)
    require(target, FEW)


def test_a_server_that_loses_points_or_has_other_pictures_is_found(server: Running, tmp_path: Path) -> None:
    index = f"edge:{tmp_path}/index"
    store([index], FEW)
    store([server.url], [replace(one, payload={**one.payload, "sha256": "?"}) for one in FEW[:2]], complete=False)
    with pytest.raises(CbirError, match="2 of 50 points are missing"):
        copied(index, server.url)
    server.inject("PUT .*/points$", status=400)
    store([f"edge:{tmp_path}/new"], POINTS[50:51], "new")
    with pytest.raises(CbirError, match="refused 50: the server refused it: injected by the test"):
        copied(f"edge:{tmp_path}/new", server.url)
    assert server_collections(server) == []


def test_a_point_that_cbir_did_not_store_is_named(server: Running, tmp_path: Path) -> None:
    store([server.url], FEW)
    client = server.client()
    client.upsert("made", [{"id": 5, "vector": VECTORS[0].tolist(), "payload": {}}])  # type: ignore[list-item]
    client.close()
    with pytest.raises(CbirError, match="cbir did not store the point 5"):
        copied(server.url, f"edge:{tmp_path}/index")


def test_an_empty_collection_is_left_out_even_where_it_would_empty_another(
    server: Running, index: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store([server.url], [])
    assert copied(server.url, f"edge:{tmp_path}/target", delete_extra=True) == []
    assert "made is empty and is not copied" in caplog.text
    assert not (tmp_path / "target").exists()


def test_a_restored_snapshot_is_compared_too_and_stays_in_its_folder(index: str, tmp_path: Path) -> None:
    contents = connect(index.replace("edge", "faiss"), Settings()).contents("made")
    assert snapshot(contents, tmp_path / "kept.tar") == COUNT
    target = f"faiss:{tmp_path}/target?index=Flat"
    with pytest.raises(UsageError, match="invalid collection name"):
        restore(tmp_path / "kept.tar", [target], "../out", Settings())
    store([target], [replace(one, vector=-one.vector) for one in FEW], complete=False)
    with pytest.raises(CbirError, match="has another vector"):
        restore(tmp_path / "kept.tar", [target], None, Settings())
    connect(target, Settings()).drop("made")
    assert restore(tmp_path / "kept.tar", [target], None, Settings()) == ("made", COUNT)
    require(target, POINTS)


# Wrong use


def test_wrong_use_is_one_line_and_changes_nothing(server: Running, other: Running, tmp_path: Path) -> None:
    index = f"edge:{tmp_path}/index"
    store([index], FEW)
    store([index], FEW[:5], "second", "others")
    store([index], FEW[:5], "half", complete=False)
    theirs = replace(MODEL, name="theirs", sha256="1" * 64)
    store([server.url], FEW, model=theirs)
    store([f"edge:{tmp_path}/elsewhere"], FEW, dataset="elsewhere")
    before = server.stats().written

    def refused(match: str, source: str, target: str, **how: object) -> None:
        with pytest.raises(UsageError, match=match):
            copied(source, target, **how)  # type: ignore[arg-type]

    new = f"edge:{tmp_path}/new"
    refused("is the source and a target", index, f"faiss:{tmp_path}/index/faiss")
    refused("is the source and a target", f"{server.url}/", f"{server.url}?ef=64", names=["set"])
    refused("--as renames a single collection", index, server.url, rename="third")
    refused("no complete collection 'half'. It has: second, made", index, server.url, names=["half"])
    refused("no collection to copy", other.url, new)
    refused("no collection to copy", f"edge:{tmp_path}/none", server.url)
    refused("made with the model theirs .111111111111., not efficientnet_lite0", index, server.url)
    refused("of the data set elsewhere, not set", index, f"edge:{tmp_path}/elsewhere")
    refused("Give its file: --model FILE", server.url, new)
    refused("is not the theirs that made the vectors", server.url, new, model=FILE)
    refused("invalid collection name", index, server.url, names=["made"], rename="../out")
    (line,) = run("copy", index, server.url, code=2).stderr.splitlines()
    assert line.startswith("error: ")
    assert not (tmp_path / "new").exists()
    assert server.stats().written == before
    assert server_collections(server) == ["made"]
    assert [one.collection for one in listed(f"edge:{tmp_path}/elsewhere")] == ["made"]


def test_a_model_that_is_not_packaged_comes_from_its_file(server: Running, tmp_path: Path) -> None:
    theirs = replace(MODEL, name="theirs")
    store([server.url], FEW, model=theirs)
    (tmp_path / "theirs.onnx").write_bytes(FILE.read_bytes())
    copied(server.url, f"edge:{tmp_path}/index", model=tmp_path / "theirs.onnx")
    require(f"edge:{tmp_path}/index", FEW)
