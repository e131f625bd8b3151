"""A damaged collection is repaired: whatever is readable answers again, and what is lost is named."""

import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from cbir.errors import DamageError, UsageError
from cbir.index import layout
from cbir.index.generation import open_generation
from cbir.index.names import MARKER
from cbir.index.repair import Repair
from cbir.pipeline.journal import Journal
from cbir.progress import silent
from cbir.settings import Settings
from cbir.stores.registry import connect
from tests.support.building import MODEL_FILE, both, builder_for, merge, points_of, unit_vectors
from tests.support.damaged_index import DAMAGES, answers, flip, truncate, verify_folder
from tests.support.made_index import copy_index, everything

VECTORS = unit_vectors(600)
POINTS = points_of(VECTORS)
AT_ONCE = 100  # smaller frames would be joined
FILES = {
    "pointer": "made/current",
    "plan": "made/building.json",
    "marker": MARKER,
    "manifest": "made/000002/manifest.json",
    "older manifest": "made/000001/manifest.json",
    "model": "made/000002/model.onnx",
    "first segment": "made/000002/log/000001.log",
    "last segment": "made/000002/log/000002.log",
    "edge": "made/000002/edge/edge_config.json",
    "faiss": "made/000002/faiss/index.faiss",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index with two generations, each with frames of its own, and a journal."""
    root = tmp_path_factory.mktemp("built") / "index"
    for points in (POINTS[:300], POINTS[300:]):
        builder = builder_for(both(root), VECTORS)
        for start in range(0, len(points), AT_ONCE):
            builder.write(points[start : start + AT_ONCE])
        builder.publish(silent)
        builder.close()
    merge(root)
    journal = Journal(root / "made" / layout.JOURNAL, 40)
    journal.record(POINTS, [])
    journal.commit()
    journal.close()
    return root


@pytest.fixture
def root(built: Path, tmp_path: Path) -> Path:
    """A copy of it, which a test may change."""
    return copy_index(built, tmp_path / "index")


def repair(root: Path, model: Path | None = None) -> Repair:
    return connect(f"edge:{root}", Settings()).repair("made", model)


def require_readable(root: Path, before: dict, lost: Sequence[str] = ()) -> None:
    """Fail unless the collection is whole, and answers with every point but those with the keys `lost`."""
    assert verify_folder(root) == []
    for kind in ("edge", "faiss"):
        after = everything(root, "made", kind)
        missing = {str(before[point_id][0]["key"]) for point_id in before.keys() - after.keys()}
        assert missing == set(lost)
        assert all(before[point_id] == point for point_id, point in after.items())
    assert [hits[0].key for hits in answers(root)[0]] == [key for key in ("0", "1", "2") if key not in lost]


@pytest.mark.parametrize("how", ["flipped", "deleted"])
@pytest.mark.parametrize("name", [name for name in FILES if "segment" not in name])
def test_one_damaged_file_costs_no_point(root: Path, name: str, how: str) -> None:
    before = everything(root, "made")
    DAMAGES[how](root / FILES[name])
    assert verify_folder(root) or "older" in name or (name, how) == ("plan", "deleted")
    report = repair(root, MODEL_FILE if name == "model" else None)
    assert report.lost == []
    require_readable(root, before)


@pytest.mark.parametrize(("name", "first"), [("first segment", 0), ("last segment", 300)])
def test_a_damaged_frame_costs_its_points_alone_and_they_are_named(root: Path, name: str, first: int) -> None:
    before = everything(root, "made")
    flip(root / FILES[name])
    with pytest.raises(DamageError, match="cbir-ingest collections repair made --store edge:"):
        everything(root, "made")
    (lost,) = repair(root).lost
    keys = sorted(str(number) for number in range(first + AT_ONCE, first + 2 * AT_ONCE))
    assert f"000{1 + first // 300:03d}.log" in lost
    assert f"{AT_ONCE} points are lost: {', '.join(keys[:5])}, ..." in lost
    require_readable(root, before, keys)
    assert (root / "made" / "damaged-000002" / "log").is_dir()


def test_a_segment_that_another_generation_has_is_taken_from_there(root: Path) -> None:
    before = everything(root, "made")
    (root / FILES["first segment"]).unlink()
    assert repair(root).lost == []
    require_readable(root, before)


@pytest.mark.parametrize("others", [(), ("manifest",)], ids=["log", "log and manifest"])
def test_the_points_of_a_missing_log_are_named(root: Path, others: Sequence[str]) -> None:
    before = everything(root, "made")
    shutil.rmtree(root / "made" / "000002" / layout.LOG)
    for name in others:
        flip(root / FILES[name])
    (lost,) = repair(root).lost
    assert "000002" in lost
    assert "300 points are lost: 300, 301, 302, 303, 304, ..." in lost
    require_readable(root, before, [str(number) for number in range(300, 600)])


def test_nothing_changes_if_no_log_is_left(root: Path) -> None:
    for number in ("000001", "000002"):
        shutil.rmtree(root / "made" / number / layout.LOG)
    before = sorted(root.rglob("*"))
    with pytest.raises(DamageError, match="No log is left"):
        repair(root)
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize("seed", range(6))
def test_several_damaged_files_cost_no_readable_point(root: Path, seed: int) -> None:
    """The end of the log is cut off in some of these, and everything else can be made again from what is left."""
    rng = random.Random(seed)
    before = everything(root, "made")
    names = rng.sample([name for name in FILES if name not in ("first segment", "plan")], 4)
    for name in names:
        (truncate if "segment" in name else DAMAGES[rng.choice(["flipped", "deleted"])])(root / FILES[name])
    report = repair(root, MODEL_FILE)
    assert bool(report.lost) == ("last segment" in names)
    lost = range(500, 600) if "last segment" in names else ()
    require_readable(root, before, [str(number) for number in lost])


def test_a_model_that_is_nowhere_is_named_and_taken_from_the_given_file(root: Path, tmp_path: Path) -> None:
    before = everything(root, "made")
    flip(root / FILES["model"])  # the older generation links the same file
    (root / FILES["pointer"]).unlink()
    with pytest.raises(UsageError, match="is not the model made-up"):
        repair(root, root / FILES["model"])
    (lost,) = repair(root).lost
    assert "no unchanged file of the model made-up" in lost
    assert "--model FILE" in lost
    assert [damage.path.name for damage in verify_folder(root)] == ["model.onnx"]
    assert everything(root, "made") == before
    assert repair(root, MODEL_FILE).lost == []
    require_readable(root, before)


def test_the_points_of_an_unfinished_run_are_kept(root: Path) -> None:
    before = everything(root, "made")
    builder = builder_for(both(root), VECTORS)
    more = points_of(unit_vectors(620, seed=1))[600:]
    builder.write(more)
    builder.close()
    flip(root / FILES["manifest"])
    with pytest.raises(DamageError, match="collections repair"):
        builder_for(both(root), VECTORS)
    assert repair(root).lost == []
    assert {point.id for point in more} == everything(root, "made").keys() - before.keys()
    assert verify_folder(root) == []


def test_a_killed_repair_keeps_the_points_of_an_unfinished_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builder = builder_for(both(root), VECTORS)
    builder.write(points_of(unit_vectors(620, seed=1))[600:])
    builder.close()
    flip(root / FILES["faiss"])

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("cbir.index.repair.publish", crash)
        repair(root)
    builder = builder_for(both(root), VECTORS)
    assert builder.resumed == 20
    builder.close()


def test_an_index_that_was_added_last_is_kept_if_the_newest_manifest_is_damaged(root: Path) -> None:
    builder = builder_for([f"faiss:{root}/flat?index=Flat"], VECTORS)
    builder.publish(silent)
    builder.close()
    flip(root / "made" / "000003" / "manifest.json")
    assert repair(root).lost == []
    assert set(open_generation(root, "made").manifest.engines) == {"edge", "faiss", "flat"}


def test_an_index_of_an_unknown_kind_is_left_out(root: Path) -> None:
    """The manifest is of an older version, without a checksum, and damaged."""
    before = everything(root, "made")
    manifest = json.loads((root / FILES["manifest"]).read_text())
    del manifest["checksum"]
    manifest["engines"]["edge"]["kind"] = "edgf"
    (root / FILES["manifest"]).write_text(json.dumps(manifest))
    (root / FILES["plan"]).unlink()
    assert "the index edge is left out: its kind is unknown" in repair(root).done
    assert everything(root, "made", "faiss") == before
    assert verify_folder(root) == []


def test_what_is_whole_is_left_alone(root: Path) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in root.rglob("*") if path.name != "lock")
    assert repair(root) == Repair(["nothing is damaged"])
    assert sorted((path, path.stat().st_mtime_ns) for path in root.rglob("*") if path.name != "lock") == before


def test_nothing_changes_if_nothing_says_which_model_it_was(root: Path) -> None:
    for name in ("plan", "manifest", "older manifest"):
        (root / FILES[name]).unlink()
    before = sorted(root.rglob("*"))
    with pytest.raises(DamageError, match="Restore one of these files"):
        repair(root)
    assert sorted(root.rglob("*")) == before
