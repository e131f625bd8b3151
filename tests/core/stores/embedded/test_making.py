"""Engines are built with the tail aside: what is published meanwhile stays, and nothing of the work is left."""

from pathlib import Path

import numpy as np
import pytest

from cbir.errors import CbirError, DamageError
from cbir.index import layout
from cbir.index.generation import open_generation
from cbir.index.live_log import LiveLog
from cbir.index.publishing import locked
from cbir.index.vector_log import VectorLog
from cbir.progress import silent
from cbir.settings import Settings
from cbir.stores.embedded import making
from cbir.stores.embedded.making import is_due, merge
from cbir.stores.registry import connect
from tests.support.building import both, build, builder_for, points_of, unit_vectors
from tests.support.damaged_index import flip, verify_folder
from tests.support.made_index import VECTORS, everything, opened

MORE = unit_vectors(340, seed=8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An index of made-up points with a tail."""
    build(both(tmp_path / "index"), VECTORS)
    change(tmp_path / "index", 290, 310)
    return tmp_path / "index"


def change(root: Path, first: int, last: int, gone: int = 0) -> None:
    """Publish points with other vectors, and delete one."""
    builder = builder_for(both(root), VECTORS)
    builder.write(points_of(MORE, version=f"from {first}")[first:last])
    builder.delete([points_of(VECTORS)[gone].id])
    builder.publish(silent)
    builder.close()


def test_a_merge_puts_the_tail_into_the_engines(root: Path) -> None:
    before = everything(root, "made")
    assert merge(root / "made", silent)
    generation = open_generation(root, "made")
    assert (generation.folder.name, generation.tail, generation.count) == ("000002", {}, 309)
    assert everything(root, "made") == before
    for kind in ("edge", "faiss"):
        store = opened(root, kind=kind)
        assert (store.info.count, store.info.tail, store.info.dead, store.info.segments) == (309, 0, 0, 0)
        assert {hits[0].id for hits in store.search(MORE[290:310], 1)} == {p.id for p in points_of(MORE)[290:310]}
        store.close()
    assert verify_folder(root) == []
    left = {path.name for path in (root / "made").iterdir()}
    assert not left & {layout.BUILDING, layout.MAKING, layout.MERGING}


def test_what_is_appended_during_a_merge_stays_in_the_tail(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_engine = making.build_engine

    def changed_meanwhile(kind: str, *arguments: object) -> float | None:
        change(root, 310 if kind == "edge" else 320, 330, gone=1)
        return build_engine(kind, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(making, "build_engine", changed_meanwhile)
    assert merge(root / "made", silent)
    generation = open_generation(root, "made")
    assert (generation.folder.name, list(generation.tail), generation.count) == (
        "000002",
        ["000003.log", "000004.log"],
        328,
    )
    found = everything(root, "made")
    assert len(found) == 328
    assert found[points_of(MORE)[325].id][1] == "from 320"
    store = opened(root)
    assert (store.info.tail, store.info.dead) == (20, 1)
    store.close()
    assert verify_folder(root) == []


def test_a_merge_gives_way_to_another_generation(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_engine = making.build_engine

    def rebuilt_meanwhile(kind: str, *arguments: object) -> float | None:
        monkeypatch.setattr(making, "build_engine", build_engine)
        build([f"faiss:{root}/flat?index=Flat"], VECTORS[:3], version="3")
        return build_engine(kind, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(making, "build_engine", rebuilt_meanwhile)
    assert not merge(root / "made", silent)
    assert set(open_generation(root, "made").manifest.engines) == {"edge", "faiss", "flat"}
    assert not (root / "made" / layout.MERGING).exists()
    assert verify_folder(root) == []


def test_one_merge_at_a_time_and_none_of_a_damaged_log(root: Path) -> None:
    with locked(root / "made", layout.MERGE_LOCK), pytest.raises(CbirError, match="another process optimizes"):
        merge(root / "made", silent)
    flip(root / "made" / "000001" / layout.LOG / "000001.log")
    with pytest.raises(DamageError, match="its bytes differ.*collections repair made"):
        merge(root / "made", silent)
    assert open_generation(root, "made").folder.name == "000001"
    assert not (root / "made" / layout.MERGING).exists()


@pytest.mark.parametrize(("added", "due"), [(1000, False), (1001, True)])
def test_a_merge_is_due_when_searches_become_slower(added: int, due: bool, tmp_path: Path) -> None:
    builder = builder_for([f"faiss:{tmp_path}"], VECTORS)
    builder.write(points_of(np.repeat(VECTORS, 4, axis=0)[:added]))
    builder.close()
    log = VectorLog(tmp_path / "made" / layout.BUILDING / layout.LOG, VECTORS.shape[1])
    assert is_due(LiveLog(VectorLog((), log.dimension), log.segments)) == due
    assert not is_due(LiveLog(log))


def test_a_collection_that_was_dropped_and_made_again_is_not_replaced(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_engine = making.build_engine

    def dropped_meanwhile(kind: str, *arguments: object) -> float | None:
        result = build_engine(kind, *arguments)  # type: ignore[arg-type]
        if kind == "faiss":
            monkeypatch.setattr(making, "build_engine", build_engine)
            with pytest.raises(CbirError, match="another process optimizes"):
                connect(f"edge:{root}", Settings()).drop("made")
            (root / "made").rename(root / "gone")
            build(both(root), MORE[:7])
            (root / "gone" / layout.MERGING).rename(root / "made" / layout.MERGING)
        return result

    monkeypatch.setattr(making, "build_engine", dropped_meanwhile)
    assert not merge(root / "made", silent)
    assert len(everything(root, "made")) == 7
    assert not merge(root / "made", silent), "there is nothing to merge"
