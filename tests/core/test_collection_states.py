"""What a store says of its collections: their state, and what is damaged."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from qdrant_client import models

from cbir.evaluation.result_files import shortened
from cbir.index.generation import open_generation
from cbir.settings import Settings
from cbir.stores.listing import CollectionInfo
from cbir.stores.qdrant.catalog import server_listed
from cbir.stores.qdrant.records import CollectionRecord
from cbir.stores.registry import connect
from tests.support.building import MODEL, both, build, builder_for, points_of, unit_vectors


def list_folder(root: Path) -> list[CollectionInfo]:
    """The collections of an index folder."""
    return list(connect(f"edge:{root}", Settings()).listing())


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("edge:/home/me/index", "edge:…/index"),
        ("faiss:/a/b/c?index=Flat --store 'edge:/x/y'", "faiss:…/c?index=Flat --store 'edge:…/y'"),
        ("https://example.org/a/b/c", "https://example.org/a/b/c"),
        ("./photos and ../b/c and 1/2/3", "./photos and ../b/c and 1/2/3"),
        ("hf://owner/name", "hf://owner/name"),
    ],
)
def test_absolute_paths_are_shortened(text: str, short: str) -> None:
    assert shortened(text) == short


def test_a_running_ingest_is_told_from_an_interrupted_one(tmp_path: Path) -> None:
    vectors = unit_vectors(60)
    build(both(tmp_path), vectors[:50], "served")
    for name in ("served", "new"):
        builder = builder_for([f"edge:{tmp_path}"], vectors, name)
        builder.write(points_of(vectors)[50:])
        running = {one.collection: one for one in list_folder(tmp_path)}
        builder.close()
        left = {one.collection: one for one in list_folder(tmp_path)}
        assert (running[name].run, left[name].run) == ("running", "interrupted")
        assert running[name].condition == left[name].condition == ("ready" if name == "served" else "unfinished")
        assert left[name].source == "nowhere"
        assert "unfinished" in left[name].state
    assert left["served"].points == 50
    assert (left["new"].points, left["new"].made_by and left["new"].made_by.name) == (None, MODEL.name)
    # A process that was killed holds no lock.
    hold = "import fcntl, sys; fcntl.flock(lock := open(sys.argv[1]), fcntl.LOCK_EX); print(flush=True); input()"
    command = [sys.executable, "-c", hold, str(tmp_path / "new" / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert {one.collection: one.run for one in list_folder(tmp_path)}["new"] == "running"
        holder.kill()
    assert {one.collection: one.run for one in list_folder(tmp_path)}["new"] == "interrupted"


def test_a_folder_that_is_removed_while_its_collection_is_listed_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opens a collection in Qdrant Edge makes a folder there, and removes it again."""
    build(both(tmp_path), unit_vectors(50), "made")
    (view := tmp_path / "made" / "views" / "gone").mkdir(parents=True)

    def scandir(path: str | Path) -> object:
        if Path(path) == view:
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return real(path)

    real = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    assert [listed.condition for listed in list_folder(tmp_path)] == ["ready"]


def test_damage_that_shows_without_reading_is_listed(tmp_path: Path) -> None:
    build(both(tmp_path), unit_vectors(50), "made")
    (one,) = list_folder(tmp_path)
    assert (one.condition, one.state, one.kinds) == ("ready", "ready", ("edge", "faiss"))
    generation = open_generation(tmp_path, "made")
    file = generation.folder / "faiss" / "index.faiss"
    whole = file.read_bytes()
    sizes: list[int] = []
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert generation.damage(hashed=False) == []
    assert [damage.path for damage in generation.damage(advance=sizes.append)] == [file]
    assert sum(sizes) == sum(record.size for record in generation.manifest.files.values())
    file.write_bytes(whole[:-1])
    (one,) = list_folder(tmp_path)
    assert one.condition == "damaged"
    assert "index.faiss" in one.state
    (generation.folder / "manifest.json").unlink()
    (one,) = list_folder(tmp_path)
    assert (one.condition, one.points) == ("damaged", None)


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
