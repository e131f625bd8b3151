"""A collection as one file, and back."""

import io
import tarfile
from pathlib import Path

import pytest
from cbir.ingest.manage.snapshot import restore, snapshot

from cbir.errors import DamageError, UsageError
from cbir.settings import Settings
from cbir.stores.registry import connect
from tests.support.building import both
from tests.support.damaged_index import flip, verify_folder
from tests.support.ingesting import run
from tests.support.made_index import everything, listed


def test_a_snapshot_brings_back_every_point_and_a_damaged_one_nothing(photos_index: Path, tmp_path: Path) -> None:
    (name,) = (one.collection for one in listed(photos_index))
    contents = connect(f"edge:{photos_index}", Settings()).contents(name)
    count = snapshot(contents, tmp_path / "kept.tar")
    with pytest.raises(UsageError, match="exists already"):
        snapshot(contents, tmp_path / "kept.tar")
    new = tmp_path / "new"
    assert restore(tmp_path / "kept.tar", both(new), None, Settings()) == (name, count)
    for kind in ("edge", "faiss"):
        assert everything(new, name, kind) == everything(photos_index, name)
    assert verify_folder(new) == []
    assert restore(tmp_path / "kept.tar", [f"faiss:{tmp_path}/other"], "second", Settings()) == ("second", count)

    whole = (tmp_path / "kept.tar").read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damaged, error, message in (
        (whole[: len(whole) // 2], UsageError, "unexpected end of data"),
        (whole.replace(b'"count": ', b'"count":1'), DamageError, "manifest.json: its bytes differ from"),
        (bytes(2000), UsageError, "is not a snapshot of cbir"),
        (b"", UsageError, "empty file"),
        (bytes(flipped), DamageError, "model.onnx is damaged"),
    ):
        assert damaged != whole
        (tmp_path / "bad.tar").write_bytes(damaged)
        with pytest.raises(error, match=message):
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


def test_a_snapshot_needs_no_index(root: Path, tmp_path: Path) -> None:
    before = everything(root, "made")
    flip(root / "made" / "000001" / "faiss" / "index.faiss")
    for store, name in ((f"faiss:{root}/faiss", "made"), (f"faiss:{root}/other", "set")):
        file = tmp_path / f"{name}.tar"
        assert "300 points" in run("collections", "snapshot", name, file, "--store", store).stdout
        restore(file, [f"edge:{tmp_path}/{name}"], None, Settings())
        assert everything(tmp_path / name, "made") == before
    refused = run("collections", "snapshot", "mdae", tmp_path / "x.tar", "--store", f"edge:{root}", code=2).stderr
    assert "has no collection 'mdae'; it has: made" in refused


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
