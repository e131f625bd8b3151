"""Indexes built again from the vector log."""

from pathlib import Path

import pytest
from cbir.ingest.manage.reindex import reindex

from cbir.errors import DamageError
from cbir.index.generation import open_generation
from cbir.settings import Settings
from cbir.stores.base import SearchParams
from tests.support.damaged_index import verify_folder
from tests.support.ingesting import run
from tests.support.made_index import VECTORS, everything, opened


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
    with pytest.raises(DamageError, match="log does not hold the 300 points .*collections repair made"):
        reindex([f"faiss:{root}/flat?index=Flat"], "made", Settings())
    assert "builds its index itself" in run("reindex", "--store", "http://localhost:6333", code=2).stderr
