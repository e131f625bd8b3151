"""Whenever the power is cut: what was flushed is stored, and what was published is whole."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cbir.index import layout, publishing
from cbir.index.generation import Generation, Marker, Plan, open_generation
from cbir.index.journal_file import stored_keys
from cbir.index.json_file import save
from cbir.index.names import MARKER
from cbir.models.card import ModelRef
from cbir.models.sealed import checksum_of
from cbir.pipeline.writers import Target
from cbir.progress import silent
from cbir.records import Point, id_bytes
from cbir.stores.embedded.making import merge
from cbir.stores.embedded.writer import LocalWriter
from cbir.stores.url import locate, parse
from tests.support.building import TINY_MODEL, points_of, unit_vectors
from tests.support.power_cut import FileSystem, Moment, Recorder

POINTS = points_of(unit_vectors(90))
ADDED = points_of(unit_vectors(130, seed=2))[90:]
CHANGED = points_of(unit_vectors(60, seed=1), version="2")
KEPT = 20
REMOVED = {id_bytes(point.id) for point in POINTS[KEPT:]}
PLAN = Plan("made", "set", "nowhere", ModelRef("made-up", checksum_of(TINY_MODEL), 8, 1, random_weights=True), None)


@dataclass(frozen=True)
class Promise:
    """The points that are durable, by id; the ids that were removed for good; what is published, and in how many steps.

    `visible` is what readers may see: one content, or two while the second is being published.
    """

    points: dict[str, Point]
    removed: frozenset[str] = frozenset()
    published: int = 0
    visible: tuple[dict[str, Point], ...] = ()


def writer(root: Path, model: Path) -> LocalWriter:
    return LocalWriter(root, locate([parse(f"faiss:{root}/faiss?index=Flat")]), PLAN, model, same_source=False)


@pytest.fixture(scope="module")
def moments(tmp_path_factory: pytest.TempPathFactory) -> list[Moment]:
    """Every point at which the power may be cut during five runs, and while their changes are merged.

    The first run makes a generation, the others are appended: points that replace others, removals, and two additions,
    with the last of which the tail is compacted.
    """
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "model.onnx").write_bytes(TINY_MODEL)
    (folder / "index").mkdir()
    save(folder / "index" / MARKER, Marker())  # as if it had another collection
    recorder = Recorder(folder / "index", (layout.JOURNAL,), Promise({}))
    steps: list[tuple[list[Point], frozenset[str]]] = [
        (POINTS, frozenset()),
        (CHANGED, frozenset()),
        ([], frozenset(point.id for point in POINTS[KEPT:])),
        (ADDED[:20], frozenset()),
        (ADDED[20:], frozenset()),
    ]
    with recorder.recording(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(publishing, "_MOST_SEGMENTS", 3)
        for points, removed in steps:
            record(recorder, folder, points, removed)
        before = recorder.promised
        assert merge(folder / "index" / "made", silent)
        recorder.promised = replace(before, published=before.published + 1)
    assert [path.name for path in (folder / "index" / "made" / "tail").iterdir()] == []
    return recorder.moments


def record(recorder: Recorder, folder: Path, points: list[Point], removed: frozenset[str]) -> None:
    """Write points, remove others and publish that, with what is promised by then."""
    target = Target(writer(folder / "index", folder / "model.onnx"), 40)
    for start in range(0, len(points), 30):
        part = points[start : start + 30]
        target.write(part, [])
        target.flush()
        promised: Promise = recorder.promised
        written = {**promised.points, **{point.id: point for point in part}}
        recorder.promised = replace(promised, points=written, removed=promised.removed - written.keys())
    if removed:
        promised = recorder.promised
        kept = {point_id: point for point_id, point in promised.points.items() if point_id not in removed}
        recorder.promised = replace(promised, points=kept)
        target.delete(sorted(removed))
        recorder.promised = replace(promised, points=kept, removed=removed)
    promised = recorder.promised
    recorder.promised = replace(promised, visible=(*promised.visible, promised.points))
    target.writer.publish(silent)
    recorder.promised = replace(promised, published=promised.published + 1, visible=(promised.points,))
    target.journal.close()
    target.writer.close()


@pytest.mark.parametrize("file_system", ["strict", "eager"])
def test_a_power_cut_at_any_point_loses_nothing_that_was_promised(
    moments: list[Moment], file_system: FileSystem, tmp_path: Path
) -> None:
    (tmp_path / "model.onnx").write_bytes(TINY_MODEL)
    assert len(moments) > 80
    for moment in moments:
        moment.replay(tmp_path / "index", file_system)
        require_kept(tmp_path, moment.promised, f"{moment.operation}, {moment.promised.published} published")


def is_kept(point: Point, other: Point) -> bool:
    """Return True for the same point, or one that was written after it and not yet promised."""
    same = point.vector.tobytes() == other.vector.tobytes() and point.payload == other.payload
    return same or other.version > point.version


def is_same(found: dict[str, Point], visible: dict[str, Point]) -> bool:
    return found.keys() == visible.keys() and all(
        found[point_id].version == point.version and found[point_id].vector.tobytes() == point.vector.tobytes()
        for point_id, point in visible.items()
    )


def published_steps(generation: Generation) -> int:
    """Return how many times the pointer was replaced: each run has one segment, and the merge makes a generation."""
    return generation.commit + int(generation.folder.name) - 1


def require_kept(folder: Path, promised: Promise, when: str) -> None:
    root = folder / "index"
    journal = stored_keys(root / "made" / layout.JOURNAL)
    if promised.published:
        generation = open_generation(root, "made")
        assert generation.damage() == [], when
        assert published_steps(generation) >= promised.published, when
        found = {point.id: point for point in generation.log().points()}
        assert any(is_same(found, visible) for visible in promised.visible), when
    opened = writer(root, folder / "model.onnx")
    try:
        stored = opened.read_back()
        found = stored.get(list(promised.points))
        assert found.keys() == promised.points.keys(), when
        assert all(is_kept(promised.points[point_id], point) for point_id, point in found.items()), when
        ids = {id_bytes(point_id) for point_id, _ in stored.described}
        assert not ids & set(map(id_bytes, promised.removed)), when
        assert journal.keys() <= ids | REMOVED, f"the journal is ahead of the log: {when}"
    finally:
        opened.close()
