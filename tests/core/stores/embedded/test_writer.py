"""Points removed from an index, and indexes that cannot be built."""

import multiprocessing
from contextlib import closing
from pathlib import Path

import pytest

from cbir.errors import DamageError, UsageError
from cbir.index import layout
from cbir.index.generation import open_generation
from cbir.index.live_log import LiveLog
from cbir.index.vector_log import Segment, open_segment
from cbir.progress import silent
from cbir.stores.embedded import growing, making
from cbir.stores.embedded import writer as writer_module
from cbir.stores.embedded.writer import LocalWriter
from cbir.stores.url import locate, parse
from tests.support.building import MODEL_FILE, both, build, builder_for, merge, plan_for, points_of, unit_vectors
from tests.support.damaged_index import DAMAGES, flip, verify_folder
from tests.support.killing import contents
from tests.support.made_index import VECTORS, everything, opened


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An index of made-up points in Edge and FAISS."""
    build(both(tmp_path / "index"), VECTORS)
    return tmp_path / "index"


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
    merge(root)
    assert len(list((root / "made" / open_generation(root, "made").folder.name / "log").iterdir())) == 1
    assert len(everything(root, "made")) == 300
    assert verify_folder(root) == []


@pytest.mark.parametrize("url", ["faiss:{}?index=Nonsense7", "edge:{}?ef_construct=2"])
def test_an_index_that_cannot_be_built_is_refused_before_anything_is_made(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        builder_for([url.format(tmp_path / "index")], VECTORS)
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("how", ["flipped", "deleted"])
def test_a_damaged_model_is_never_published_again(root: Path, how: str) -> None:
    model = root / "made" / "000001" / layout.MODEL
    DAMAGES[how](model)
    places = locate([parse(url) for url in both(root)])
    writer = LocalWriter(root, places, plan_for(VECTORS), model, same_source=False)
    assert writer.needs_publishing
    with pytest.raises(DamageError, match="no undamaged file of the model made-up .*collections repair made"):
        writer.publish(silent)
    writer.close()
    assert [damage.path for damage in verify_folder(root)] == [model]
    builder = builder_for(both(root), VECTORS)
    assert builder.needs_publishing
    builder.publish(silent)
    builder.close()
    assert verify_folder(root) == []
    assert (root / "made" / "000002" / layout.MODEL).read_bytes() == MODEL_FILE.read_bytes()


def test_a_damaged_engine_is_built_again_with_the_tail(root: Path) -> None:
    build(both(root), unit_vectors(310, seed=4), version="2")
    flip(root / "made" / "000001" / "faiss" / "index.faiss")
    builder = builder_for(both(root), VECTORS)
    assert builder.needs_publishing
    builder.publish(silent)
    builder.close()
    assert verify_folder(root) == []
    store = opened(root, kind="faiss")
    assert (store.info.count, store.info.tail, store.info.dead) == (310, 0, 0)
    store.close()


def test_many_small_changes_are_few_files(root: Path) -> None:
    points = points_of(unit_vectors(400, seed=6), "2")
    for number in range(40):
        builder = builder_for(both(root), VECTORS)
        builder.write([points[number], points[300 + number]])
        builder.delete([points[100 + number].id])
        builder.publish(silent)
        builder.close()
    generation = open_generation(root, "made")
    assert (generation.folder.name, generation.count, generation.commit) == ("000001", 300, 41)
    assert len(generation.tail) < 40
    assert sorted(path.name for path in (root / "made" / layout.TAIL).iterdir()) == sorted(generation.tail)
    assert verify_folder(root) == []
    expected = {point.id for point in points_of(VECTORS)} - {point.id for point in points[100:140]}
    assert everything(root, "made").keys() == expected | {point.id for point in points[300:340]}


def test_points_are_listed_only_when_they_are_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(builder_for(both(root), VECTORS)) as writer, monkeypatch.context() as patched:
        patched.setattr(LiveLog, "living", lambda log: pytest.fail("all positions are listed"))
        unread = [writer.thumbnails(), writer.described(), writer.read_back().described]
        patched.undo()
        assert [len(list(points)) for points in unread] == [len(VECTORS)] * 3


@pytest.fixture
def frames_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of frames of the segments that a writer opens. One ends after four frames."""
    read: list[int] = []

    def open_counted(path: Path, dimension: int) -> Segment:
        segment = open_segment(path, dimension)
        read.append(len(segment.batches))
        return segment

    monkeypatch.setattr(writer_module, "open_segment", open_counted)
    monkeypatch.setattr(writer_module, "_MOST_FRAMES", 4)
    return read


@pytest.mark.parametrize("changes", [39, 40, 41])
def test_many_changes_between_two_publishes_are_not_read_again_each_time(
    changes: int, root: Path, frames_read: list[int]
) -> None:
    points = points_of(VECTORS, "2")
    expected = {point.id: point.payload for point in points_of(VECTORS)}
    writer = builder_for(both(root), VECTORS)
    for number in range(changes):
        writer.refresh()
        assert dict(writer.described()) == expected
        point, last = points[number], points[number - 1]
        if number % 4 == 2:
            writer.update([last.id], {"changed": number})
            expected[last.id] = {**last.payload, "changed": number}
        elif number % 4 == 3:
            writer.delete([last.id])
            del expected[last.id]
        else:
            writer.write([point])
            expected[point.id] = point.payload
    writer.refresh()
    assert sum(frames_read) < 5 * changes
    writer.close()  # as a kill leaves it
    again = builder_for(both(root), VECTORS)
    assert dict(again.described()) == expected
    again.publish(silent)
    again.close()
    assert {point_id: payload for point_id, (payload, *_) in everything(root, "made").items()} == expected
    assert verify_folder(root) == []


def test_an_update_reads_what_was_written_only_if_it_has_not_been_read(root: Path, frames_read: list[int]) -> None:
    points = points_of(VECTORS, "2")
    with closing(builder_for(both(root), VECTORS)) as writer:
        writer.write(points[:1])
        writer.update([points[0].id], {"changed": 1})
        assert frames_read == [1]
        writer.refresh()
        writer.update([points[0].id], {"other": 2})
        assert frames_read == [1, 2]
        writer.refresh()
        assert writer.points([points[0].id])[points[0].id].payload == {**points[0].payload, "changed": 1, "other": 2}


def test_engines_grow_while_segments_end(
    tmp_path: Path, frames_read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = unit_vectors(200)
    monkeypatch.setattr(growing, "build_engine", lambda *_: pytest.fail("an index was built anew"))
    writer = builder_for(both(tmp_path / "i"), vectors)
    for point in points_of(vectors):
        writer.write([point])
        writer.flush()
        writer.refresh()
    writer.publish(silent)
    writer.close()
    for url in both(tmp_path / "i"):
        assert len(contents(url, "made")) == 200
    assert verify_folder(tmp_path / "i") == []


def test_the_engines_of_a_first_generation_grow_while_points_are_written(tmp_path: Path) -> None:
    vectors = unit_vectors(30)
    folder = tmp_path / "i" / "made" / "growing"
    (folder / "edge" / "left by a kill").mkdir(parents=True)
    writer = builder_for(both(tmp_path / "i"), vectors)
    assert not folder.exists()
    writer.write(points_of(vectors)[:20])
    writer.flush()
    assert len(multiprocessing.active_children()) == 2
    writer.write(points_of(vectors)[20:])
    writer.publish(silent)
    assert not folder.exists()
    for url in both(tmp_path / "i"):
        assert len(contents(url, "made")) == 30
    writer.write(points_of(vectors, "2")[:5])
    writer.flush()
    assert not multiprocessing.active_children()
    writer.close()


def test_engines_go_on_growing_while_what_was_written_so_far_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = unit_vectors(2600)
    points = points_of(vectors)
    built: list[str] = []
    monkeypatch.setattr(growing, "build_engine", lambda *_: pytest.fail("an index was built anew"))
    build_engine = making.build_engine
    monkeypatch.setattr(making, "build_engine", lambda kind, *rest: built.append(kind) or build_engine(kind, *rest))
    writer = builder_for(both(tmp_path / "i"), vectors)
    for first in range(0, 2600, 650):
        writer.write(points[first : first + 650])
        writer.flush()
        writer.publish(silent, more=True)
        generation = open_generation(tmp_path / "i", "made")
        assert (generation.folder.name, generation.count) == ("000001", first + 650)
    assert built == ["edge", "faiss"]
    assert writer.needs_publishing
    writer.publish(silent)
    assert not writer.needs_publishing
    writer.close()
    assert built == ["edge", "faiss"]
    generation = open_generation(tmp_path / "i", "made")
    assert (generation.folder.name, generation.count, generation.tail) == ("000002", 2600, {})
    for url in both(tmp_path / "i"):
        assert len(contents(url, "made")) == 2600
    assert verify_folder(tmp_path / "i") == []
    assert not multiprocessing.active_children()


def test_nothing_grows_after_a_run_that_publishes_nothing(tmp_path: Path) -> None:
    vectors = unit_vectors(30)
    writer = builder_for(both(tmp_path / "i"), vectors)
    writer.write(points_of(vectors))
    writer.flush()
    writer.close()
    assert not (tmp_path / "i" / "made" / "growing").exists()
    assert not multiprocessing.active_children()
