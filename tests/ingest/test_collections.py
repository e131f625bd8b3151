"""Whole collections: compared, dropped, chosen, kept in a file, restored, and indexed anew."""

import io
import json
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
from cbir.ingest.manage.compare import compare
from cbir.ingest.manage.reindex import reindex
from cbir.ingest.manage.snapshot import restore, snapshot

from cbir.errors import CbirError, DamageError, UsageError
from cbir.index.generation import open_generation
from cbir.progress import silent
from cbir.settings import Settings
from cbir.stores.base import SearchParams, Store
from cbir.stores.listing import CollectionInfo
from cbir.stores.registry import connect, open_store
from tests.ingest.test_ingest import run
from tests.support.building import both, build, builder_for, points_of, unit_vectors
from tests.support.judging import verify_folder

VECTORS = unit_vectors(300)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "index"
    build(both(folder), VECTORS)
    return folder


@pytest.fixture
def root(built: Path, tmp_path: Path) -> Path:
    """An index that the test may do with as it likes."""
    subprocess.run(["/bin/cp", "-a", built, tmp_path / "index"], check=True)  # Edge's files stay sparse
    return tmp_path / "index"


def listed(root: Path) -> list[CollectionInfo]:
    return list(connect(f"edge:{root}", Settings()).listing())


def opened(root: Path, name: str = "made", kind: str = "edge") -> Store:
    return open_store(f"edge:{root}" if kind == "edge" else f"faiss:{root}/{kind}", name, Settings())


def everything(root: Path, name: str, kind: str = "edge") -> dict[str, tuple[object, ...]]:
    store = opened(root, name, kind)
    found = {
        one.id: (dict(one.payload), one.version, one.thumbnail, one.digest, one.vector.tobytes())
        for one in store.points()
    }
    store.close()
    return found


def test_reindex_builds_another_index_from_the_log_and_leaves_the_others(root: Path) -> None:
    edge = sorted((path.stat().st_ino, path.name) for path in (root / "made/000001/edge").rglob("*") if path.is_file())
    reindex([f"faiss:{root}/coded?index=IVF4,PQ4x4"], "made", Settings())
    generation = open_generation(root, "made")
    assert generation.folder.name == "000002"
    assert generation.manifest.engines["coded"].options["index"] == "IVF4,PQ4x4"
    linked = sorted(
        (path.stat().st_ino, path.name) for path in (generation.folder / "edge").rglob("*") if path.is_file()
    )
    assert linked == edge, "an index that did not change was built again"
    assert verify_folder(root) == []
    store = opened(root, kind="coded")
    assert store.info.access == "ivf"
    found = store.search(VECTORS[:20], 1, params=SearchParams(exact=True))
    assert [hits[0].score for hits in found] == pytest.approx([1] * 20, abs=1e-5)
    store.close()
    before = (root / "made/000002/coded/index.faiss").stat().st_ino
    reindex([f"faiss:{root}/coded"], None, Settings())
    assert (root / "made/000003/coded/index.faiss").stat().st_ino != before
    assert everything(root, "made", "coded") == everything(root, "made")


def test_reindex_from_a_damaged_log_is_refused(root: Path) -> None:
    log = next((root / "made/000001/log").iterdir())
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)
    with pytest.raises(DamageError, match="not those that were published"):
        reindex([f"faiss:{root}/flat?index=Flat"], "made", Settings())
    assert "builds its index itself" in run("reindex", "--store", "http://localhost:6333", code=2).stderr


def test_a_snapshot_brings_back_every_point_and_a_damaged_one_nothing(photos_index: Path, tmp_path: Path) -> None:
    (name,) = (one.collection for one in listed(photos_index))
    store = open_store(f"edge:{photos_index}", name, Settings())
    count = snapshot(store, tmp_path / "kept.tar")
    with pytest.raises(UsageError, match="is there already"):
        snapshot(store, tmp_path / "kept.tar")
    store.close()
    new = tmp_path / "new"
    assert restore(tmp_path / "kept.tar", both(new), None, Settings()) == (name, count)
    for kind in ("edge", "faiss"):
        assert everything(new, name, kind) == everything(photos_index, name)
    assert verify_folder(new) == []
    assert restore(tmp_path / "kept.tar", [f"faiss:{tmp_path}/other"], "second", Settings()) == ("second", count)

    whole = (tmp_path / "kept.tar").read_bytes()
    for damaged in (whole[: len(whole) // 2], whole.replace(b'"count": ', b'"count":1'), bytes(2000), b""):
        (tmp_path / "bad.tar").write_bytes(damaged)
        with pytest.raises(CbirError):
            restore(tmp_path / "bad.tar", both(tmp_path / "bad"), None, Settings())
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    (tmp_path / "bad.tar").write_bytes(flipped)
    with pytest.raises(DamageError):
        restore(tmp_path / "bad.tar", both(tmp_path / "bad"), None, Settings())
    assert not (tmp_path / "bad").exists()
    assert not list(tmp_path.glob(".cbir-snapshot*"))


@pytest.fixture
def photos_index(photo_folder: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "few"
    folder.mkdir()
    for path in sorted(photo_folder.rglob("*.png"))[:8]:
        (folder / path.name).write_bytes(path.read_bytes())
    run(folder, "--store", f"edge:{tmp_path}/small")
    return tmp_path / "small"


def test_a_snapshot_cannot_write_outside_of_its_folder(tmp_path: Path) -> None:
    evil = tmp_path / "evil.tar"
    with tarfile.open(evil, "w") as tar:
        for name in ("../escaped", f"{tmp_path}/escaped", "log/../../escaped.log", "log/000001.log"):
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"evil"))
        link = tarfile.TarInfo("model.onnx")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(UsageError, match="not a snapshot"):
        restore(evil, both(tmp_path / "index"), None, Settings())
    assert {path.name for path in tmp_path.iterdir()} == {"evil.tar"}


def test_two_collections_are_compared_by_their_pictures(root: Path) -> None:
    builder = builder_for(both(root), VECTORS, "other")
    builder.write([*points_of(VECTORS)[:100], *points_of(np.roll(VECTORS, 1, axis=0), version="2")[100:110]])
    builder.publish(silent)
    builder.close()
    one, two = opened(root, "made"), opened(root, "other")
    found = compare(one, two)
    assert found.same == 100
    assert found.changed == [str(number) for number in range(100, 110)]
    assert (len(found.only_first), found.only_second) == (190, [])
    assert found.lowest_cosine == pytest.approx(1, abs=1e-5)
    one.close()
    two.close()
    told = run("collections", "compare", "made", "other", "--store", f"edge:{root}").stdout
    assert "100 pictures are in both and the same" in told
    assert "only in made: 190" in told


def test_a_collection_is_dropped_chosen_and_listed(root: Path) -> None:
    build(both(root), VECTORS[:50], "newer")
    assert [(one.collection, one.alias, one.points) for one in listed(root)] == [
        ("newer", "set", 50),
        ("made", "", 300),
    ]
    store = opened(root, "set")
    assert store.info.collection == "newer"
    store.close()
    catalog = connect(f"edge:{root}", Settings())
    catalog.use("made")
    store = opened(root, "set")
    assert store.info.collection == "made"
    store.close()
    builder = builder_for(both(root), VECTORS[:50], "newer")
    with pytest.raises(CbirError, match="an ingest is filling"):
        catalog.drop("newer")
    builder.write(points_of(VECTORS)[50:60])
    builder.close()
    states = {
        one["collection"]: one["state"]
        for one in json.loads(run("collections", "--store", f"edge:{root}", "--json").stdout)
    }
    assert "an unfinished run" in states["newer"]
    assert "say --yes" in run("collections", "drop", "newer", "--store", f"edge:{root}", code=2).stderr
    catalog.drop("newer")
    assert [one.collection for one in listed(root)] == ["made"]
    with pytest.raises(UsageError, match="has no collection 'newer'"):
        catalog.drop("newer")
    with pytest.raises(UsageError, match="cannot be a collection's name"):
        catalog.drop("../index")


def test_a_deleted_point_is_found_by_no_index(root: Path) -> None:
    builder = builder_for(both(root), VECTORS)
    gone = [point.id for point in points_of(VECTORS)[::3]]
    builder.delete(gone)
    builder.publish(silent)
    builder.close()
    for kind in ("edge", "faiss"):
        store = opened(root, kind=kind)
        assert store.info.count == 200
        found = {hit.id for hits in store.search(VECTORS, 10) for hit in hits}
        assert not found & set(gone)
        assert store.vectors([gone[0]]) == [None]
        store.close()
    builder = builder_for(both(root), VECTORS)
    builder.write(points_of(VECTORS, version="3"))  # more dead rows than living ones now: written anew
    builder.publish(silent)
    builder.close()
    assert len(list((root / "made" / open_generation(root, "made").folder.name / "log").iterdir())) == 1
    assert len(everything(root, "made")) == 300
    assert verify_folder(root) == []
