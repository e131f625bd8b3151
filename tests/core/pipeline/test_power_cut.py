"""Whenever the power is cut: what was flushed is stored, and what was published is whole."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from cbir.index import layout
from cbir.index.generation import Marker, Plan, open_generation
from cbir.index.journal_file import stored_keys
from cbir.index.json_file import save
from cbir.index.names import MARKER
from cbir.models.card import ModelRef
from cbir.models.sealed import BLANK_CHECKSUM, CHECKSUM_FIELD, checksum_of, seal
from cbir.pipeline.writers import Target
from cbir.progress import silent
from cbir.records import Point, id_bytes
from cbir.stores.embedded.writer import LocalWriter
from cbir.stores.url import locate, parse
from tests.support.building import points_of, unit_vectors
from tests.support.power_cut import FileSystem, Moment, Recorder

POINTS = points_of(unit_vectors(90))
CHANGED = points_of(unit_vectors(60, seed=1), version="2")
KEPT = 20
REMOVED = {id_bytes(point.id) for point in POINTS[KEPT:]}
_field = CHECKSUM_FIELD.encode()
MODEL = seal(b"\x0a" + bytes([len(_field)]) + _field + b"\x12\x40" + BLANK_CHECKSUM.encode())
PLAN = Plan("made", "set", "nowhere", ModelRef("made-up", checksum_of(MODEL), 8, 1, random_weights=True), None)


@dataclass(frozen=True)
class Promise:
    """The points that are durable, by id; the ids that were removed for good; the number of published generations."""

    points: dict[str, Point]
    removed: frozenset[str] = frozenset()
    published: int = 0


def writer(root: Path, model: Path) -> LocalWriter:
    return LocalWriter(root, locate([parse(f"faiss:{root}/faiss?index=Flat")]), PLAN, model, same_source=False)


@pytest.fixture(scope="module")
def moments(tmp_path_factory: pytest.TempPathFactory) -> list[Moment]:
    """Every point at which the power may be cut during three runs: the first, one with changes, one with removals."""
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "model.onnx").write_bytes(MODEL)
    (folder / "index").mkdir()
    save(folder / "index" / MARKER, Marker())  # as if it had another collection
    recorder, promised = Recorder(folder / "index", (layout.JOURNAL,), Promise({})), Promise({})
    steps: list[tuple[list[Point], frozenset[str]]] = [
        (POINTS, frozenset()),
        (CHANGED, frozenset()),
        ([], frozenset(point.id for point in POINTS[KEPT:])),
    ]
    with recorder.recording():
        for number, (points, removed) in enumerate(steps, 1):
            target = Target(writer(folder / "index", folder / "model.onnx"), 40)
            for start in range(0, len(points), 30):
                part = points[start : start + 30]
                target.write(part, [])
                target.flush()
                promised = Promise({**promised.points, **{point.id: point for point in part}}, frozenset(), number - 1)
                recorder.promised = promised
            if removed:
                kept = {point_id: point for point_id, point in promised.points.items() if point_id not in removed}
                recorder.promised = Promise(kept, frozenset(), number - 1)
                target.delete(sorted(removed))
                recorder.promised = promised = Promise(kept, removed, number - 1)
            target.writer.publish(silent)
            recorder.promised = promised = Promise(promised.points, promised.removed, number)
            target.journal.close()
            target.writer.close()
    return recorder.moments


@pytest.mark.parametrize("file_system", ["strict", "eager"])
def test_a_power_cut_at_any_point_loses_nothing_that_was_promised(
    moments: list[Moment], file_system: FileSystem, tmp_path: Path
) -> None:
    (tmp_path / "model.onnx").write_bytes(MODEL)
    assert len(moments) > 80
    for moment in moments:
        moment.replay(tmp_path / "index", file_system)
        require_kept(tmp_path, moment.promised, f"{moment.operation}, {moment.promised.published} published")


def is_kept(point: Point, other: Point) -> bool:
    """Return True for the same point, or one that was written after it and not yet promised."""
    same = point.vector.tobytes() == other.vector.tobytes() and point.payload == other.payload
    return same or other.version > point.version


def require_kept(folder: Path, promised: Promise, when: str) -> None:
    root = folder / "index"
    journal = stored_keys(root / "made" / layout.JOURNAL)
    if promised.published:
        generation = open_generation(root, "made")
        assert generation.damage() == [], when
        assert int(generation.folder.name) >= promised.published, when
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
