"""What killed runs and damaged pointers leave is cleaned up or refused when a collection is opened to write."""

import logging
import subprocess
from pathlib import Path

import pytest

from cbir.errors import DamageError
from cbir.index import layout
from cbir.index.generation import open_generation
from cbir.settings import Settings
from cbir.stores.registry import connect
from tests.support.building import both, build, builder_for, merge
from tests.support.damaged_index import flip, verify_folder
from tests.support.made_index import VECTORS, everything


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An index of made-up points in Edge and FAISS."""
    build(both(tmp_path / "index"), VECTORS)
    return tmp_path / "index"


def test_what_killed_runs_left_is_removed_when_the_collection_is_opened_to_write(root: Path) -> None:
    for version in ("2", "3"):
        build(both(root), VECTORS, version=version)
        merge(root)
    folder = root / "made"
    for number in ("000001", "000004"):  # a run was killed before it removed the first, and after it published the last
        subprocess.run(["/bin/cp", "-a", folder / "000003", folder / number], check=True)
    (folder / "current.0123.tmp").touch()
    builder_for(both(root), VECTORS).close()
    assert sorted(path.name for path in folder.iterdir() if path.name[0] in "0c") == ["000003", "000004", "current"]
    assert open_generation(root, "made").folder.name == "000004"
    assert verify_folder(root) == []


def test_an_older_generation_is_not_published_again(root: Path) -> None:
    build(both(root), VECTORS, version="2")
    merge(root)
    pointer = root / "made" / layout.POINTER
    pointer.write_text(pointer.read_text().replace("000002", "000001"))
    with pytest.raises(DamageError, match="collections repair made"):
        builder_for(both(root), VECTORS)
    pointer.write_text('{"generation": "00000x", "manifest_sha256": ""}')  # without a checksum, as in older versions
    with pytest.raises(DamageError, match="collections repair made"):
        builder_for(both(root), VECTORS)
    pointer.unlink()
    builder_for(both(root), VECTORS).close()  # the last one is complete
    assert open_generation(root, "made").folder.name == "000002"
    pointer.unlink()
    flip(root / "made" / "000002" / "manifest.json")
    with pytest.raises(DamageError, match="000002 is damaged, and .*current does not name it"):
        builder_for(both(root), VECTORS)
    assert (root / "made" / "000001").is_dir()


def test_a_damaged_generation_that_was_never_published_is_set_aside(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a copy of the folder that was made during a publish."""
    folder = root / "made"
    for kept in ("damaged-000002", "damaged-000002-again"):
        subprocess.run(["/bin/cp", "-a", folder / "000001", folder / "000002"], check=True)
        flip(folder / "000002" / "manifest.json")
        with caplog.at_level(logging.WARNING):
            builder_for(both(root), VECTORS).close()
        assert f"it is kept in {folder / kept}" in caplog.messages[-1]
        assert (folder / kept / "log").is_dir()
    build(both(root), VECTORS, version="2")
    merge(root)
    assert open_generation(root, "made").folder.name == "000002"
    assert verify_folder(root) == []


def test_a_pointer_that_is_lost_with_the_names_of_the_tail_is_damage(root: Path) -> None:
    build(both(root), VECTORS[:20], version="2")
    (root / "made" / layout.POINTER).unlink()
    with pytest.raises(DamageError, match="is missing.*collections repair made"):
        builder_for(both(root), VECTORS)
    assert list((root / "made" / layout.TAIL).iterdir())
    connect(f"edge:{root}", Settings()).repair("made")
    assert verify_folder(root) == []
    assert {version for _, version, *_ in everything(root, "made").values()} == {"1", "2"}
