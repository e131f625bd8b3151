"""The collections of an index folder: which one is opened, and what is listed of each."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cbir.errors import UsageError
from cbir.index.generation import open_generation
from cbir.settings import Settings
from cbir.stores.listing import CollectionInfo
from cbir.stores.registry import connect, open_store
from tests.support.building import MODEL, both, build, builder_for, points_of, unit_vectors

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


def test_the_newest_collection_comes_first(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        build([f"edge:{tmp_path}/index"], VECTORS[:3], collection=name)
    assert connect(f"edge:{tmp_path}/index", Settings()).names() == ["c", "a", "b"]


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
