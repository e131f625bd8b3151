"""The collections of an index folder: which one is opened, and what is listed of each."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import pytest

from cbir.errors import DamageError, UsageError
from cbir.index.generation import Generation, open_generation
from cbir.index.publishing import locked
from cbir.pipeline.journal import Journal
from cbir.progress import silent
from cbir.settings import Settings
from cbir.stores.listing import CollectionInfo
from cbir.stores.registry import connect, open_store
from tests.support.building import MODEL, both, build, builder_for, points_of, unit_vectors
from tests.support.damaged_index import flip

VECTORS = unit_vectors(3)


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


@pytest.mark.parametrize("name", ["x" * 300, "../made", ""])
def test_what_cannot_be_a_name_is_no_collection(tmp_path: Path, name: str) -> None:
    build([f"edge:{tmp_path}/index"], VECTORS[:3])
    catalog = connect(f"edge:{tmp_path}/index", Settings())
    for call in (catalog.use, catalog.optimize, catalog.contents):
        with pytest.raises(UsageError, match=f"has no collection '{name}'; it has: made"):
            call(name)


def test_the_newest_collection_comes_first(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        build([f"edge:{tmp_path}/index"], VECTORS[:3], collection=name)
    catalog = connect(f"edge:{tmp_path}/index", Settings())
    assert catalog.names() == ["c", "a", "b"]
    for name in ("a", "b", "c"):  # as a copy of the folder may
        os.utime(tmp_path / "index" / name / "current", (5, 5))
    assert catalog.names() == ["c", "a", "b"]
    catalog.use("b")
    assert catalog.names() == ["b", "c", "a"]
    flip(tmp_path / "index" / "a" / "current")
    assert catalog.names() == ["a", "b", "c"]
    with pytest.raises(DamageError, match="cbir-ingest collections repair a --store"):
        catalog.open()


def test_a_collection_that_is_being_published_or_dropped_is_left_out(tmp_path: Path) -> None:
    for name in ("a", "b"):
        build([f"edge:{tmp_path}/index"], VECTORS[:3], collection=name)
    catalog = connect(f"edge:{tmp_path}/index", Settings())
    with locked(tmp_path / "index" / "b"):
        (tmp_path / "index" / "b" / "current").unlink()
        assert catalog.names() == ["a"]
    assert catalog.names() == ["b", "a"]
    with pytest.raises(DamageError, match="cbir-ingest collections repair b --store"):
        catalog.open()


def test_the_generations_go_before_the_lock_of_a_dropped_collection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        build([f"edge:{tmp_path}/index"], VECTORS[:3], collection=name)
    catalog = connect(f"edge:{tmp_path}/index", Settings())
    seen, remove = [], shutil.rmtree

    def remove_slowly(path: Path) -> None:
        seen.append((path.name, catalog.names()))
        remove(path)

    monkeypatch.setattr(shutil, "rmtree", remove_slowly)
    catalog.drop("b")
    assert seen == [("000001", ["a"]), ("b", ["a"])]


def test_what_collections_hold_is_read_once_and_until_they_are_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = unit_vectors(60)
    for name, count in (("a", 30), ("b", 50)):
        build([f"edge:{tmp_path}/index"], vectors[:count], collection=name)
    catalog = connect(f"edge:{tmp_path}/index", Settings())
    opened: list[Generation] = []
    read = Generation.log
    monkeypatch.setattr(Generation, "log", lambda found, **options: (opened.append(found), read(found, **options))[1])
    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(lambda name: len(list(catalog.read_back(name).described)), "ab" * 30))
    assert counts == [30, 50] * 30
    assert len(opened) <= 4, "each thread may open each collection at the same moment"
    builder = builder_for([f"edge:{tmp_path}/index"], vectors, "a")
    builder.write(points_of(vectors)[30:])
    builder.publish(silent)
    builder.close()
    before = len(opened)
    assert len(list(catalog.read_back("a").described)) == 60
    assert len(opened) == before, "the change was followed"
    log = weakref.ref(catalog.read_back("a").get.__self__)  # type: ignore[attr-defined]
    catalog.drop("a")
    assert log() is None
    with pytest.raises(UsageError, match="no collection 'a'"):
        catalog.read_back("a")


def test_an_old_pointer_is_as_new_as_its_file(tmp_path: Path) -> None:
    """The version that wrote no time into a pointer went by the time of the file."""
    for name in ("a", "b"):
        build([f"edge:{tmp_path}/index"], VECTORS[:3], collection=name)
        pointer = tmp_path / "index" / name / "current"
        fields = json.loads(pointer.read_text())
        pointer.write_text(json.dumps({key: fields[key] for key in ("generation", "manifest_sha256")}))
    os.utime(tmp_path / "index" / "b" / "current", (5, 5))
    assert connect(f"edge:{tmp_path}/index", Settings()).names() == ["a", "b"]


def test_verify_checks_everything_and_reports_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(both(tmp_path), unit_vectors(50))
    journal = Journal(tmp_path / "made" / "journal.sqlite", 40)
    journal.record(points_of(unit_vectors(50)), [])
    journal.commit()
    journal.close()
    catalog = connect(f"edge:{tmp_path}", Settings())
    assert catalog.verify() == []
    first = tmp_path / "made" / "000001"
    names = ("../../cbir.json", "../journal.sqlite", "model.onnx", "faiss/index.faiss")
    damaged = [(first / name).resolve() for name in names]
    for path in [*damaged, first.parent / "current"]:
        path.write_bytes(path.read_bytes()[:-1] if path.name != "journal.sqlite" else bytes(5000))
    unreadable = first / "log" / "000001.log"

    def digest(file: BinaryIO, name: str) -> object:
        if file.name == str(unreadable):
            raise OSError(5, "Input/output error")
        return real(file, name)

    real = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", digest)  # a bad sector
    found = catalog.verify()
    assert {damage.path for damage in found} == {*damaged, unreadable, first.parent}
    assert "cannot be read: Input/output error" in next(damage.what for damage in found if damage.path == unreadable)
    assert "current" in next(damage.what for damage in found if damage.path == first.parent)


def list_folder(root: Path) -> list[CollectionInfo]:
    """The collections of an index folder."""
    return list(connect(f"edge:{root}", Settings()).listing())


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

    def scandir(path: str | Path | int) -> object:
        if not isinstance(path, int) and Path(path) == view:  # pytest removes the folder by its descriptor
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


def test_a_collection_without_its_pointer_is_listed_as_damaged_and_can_be_dropped(tmp_path: Path) -> None:
    build(both(tmp_path), unit_vectors(50))
    (tmp_path / "made" / "current").unlink()
    catalog = connect(f"edge:{tmp_path}", Settings())
    (listed,) = catalog.listing()
    assert (listed.collection, listed.condition) == ("made", "damaged")
    assert "collections repair made" in listed.state
    with pytest.raises(
        DamageError, match="current: No such file or directory. Repair it with: cbir-ingest collections repair made"
    ):
        catalog.open()
    (tmp_path / "made" / "lock").unlink()  # as if it had been dropped in part
    catalog.drop("made")
    assert catalog.names() == []
