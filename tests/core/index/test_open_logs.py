"""A log that is open is followed from change to change and over merges, and opened again where that is impossible."""

import shutil
from pathlib import Path

import pytest

from cbir.errors import DamageError
from cbir.index import layout
from cbir.index.open_logs import OpenLog, OpenLogs
from tests.support.building import both, build, builder_for, merge, points_of, unit_vectors
from tests.support.damaged_index import flip
from tests.support.made_index import VECTORS, copy_index

MORE = unit_vectors(340, seed=8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An index of made-up points in Edge and FAISS."""
    build(both(tmp_path / "index"), VECTORS)
    return tmp_path / "index"


def add(root: Path, first: int, last: int) -> None:
    """Publish points with other vectors."""
    builder = builder_for(both(root), VECTORS)
    builder.write(points_of(MORE, version=f"from {first}")[first:last])
    builder.publish(lambda *_, **__: pytest.fail("an index was built"))
    builder.close()


def state(opened: OpenLog) -> dict[str, str]:
    """Return the version of each point."""
    return {point.id: point.version for point in opened.log.points()}


def test_a_change_is_followed_without_opening_the_base_again(root: Path) -> None:
    logs = OpenLogs(root)
    before = logs.get("made")
    assert logs.get("made") is before
    add(root, 290, 310)
    after = logs.get("made")
    assert after.log.base is before.log.base
    assert (len(before.log), len(after.log), after.names, after.is_behind) == (300, 310, ("000002.log",), False)
    assert state(after) == state(OpenLogs(root).get("made"))


def test_a_merge_is_followed_and_a_current_log_is_opened_on_request(root: Path) -> None:
    logs = OpenLogs(root)
    add(root, 290, 310)
    seen = logs.get("made")
    merge(root)
    followed = logs.get("made")
    assert (followed.is_behind, followed.log is seen.log) == (True, True)
    add(root, 310, 320)
    followed = logs.get("made")
    assert (followed.is_behind, followed.log.base is seen.log.base, len(followed.log)) == (True, True, 320)
    merge(root)
    add(root, 0, 5)
    followed = logs.get("made")
    assert (followed.is_behind, followed.log.base is seen.log.base) == (True, True)
    current = logs.get("made", current=True)
    assert (current.is_behind, current.log.base is seen.log.base) == (False, False)
    assert state(current) == state(followed) == state(OpenLogs(root).get("made"))


def test_changes_that_were_merged_before_they_were_seen_are_read_from_the_generation(root: Path) -> None:
    logs = OpenLogs(root)
    before = logs.get("made")
    add(root, 290, 310)
    merge(root)
    assert not list((root / "made" / layout.TAIL).iterdir())
    followed = logs.get("made")
    assert (followed.log.base is before.log.base, followed.names) == (True, ("000002.log",))
    assert state(followed) == state(OpenLogs(root).get("made"))


def test_a_log_that_was_rewritten_is_opened_again(root: Path) -> None:
    logs = OpenLogs(root)
    before = logs.get("made")
    for first in (0, 150):  # more dead rows than living ones
        add(root, first, first + 170)
    add(root, 0, 340)
    merge(root)
    opened = logs.get("made")
    assert opened.log.base is not before.log.base
    assert not opened.is_behind
    assert state(opened) == state(OpenLogs(root).get("made"))


def test_a_damaged_change_is_not_shown(root: Path) -> None:
    logs = OpenLogs(root)
    before = logs.get("made")
    add(root, 290, 310)
    (segment,) = (root / "made" / layout.TAIL).iterdir()
    kept = segment.read_bytes()
    flip(segment)
    with pytest.raises(DamageError, match="its bytes differ.*collections repair made"):
        logs.get("made")
    segment.write_bytes(kept)
    assert len(logs.get("made").log) == 310
    assert len(before.log) == 300


def test_another_collection_of_the_same_name_is_opened_again(root: Path) -> None:
    logs = OpenLogs(root)
    before = logs.get("made")
    shutil.rmtree(root / "made")
    build(both(root), MORE[:7])
    after = logs.get("made")
    assert (len(before.log), len(after.log)) == (300, 7)


def test_a_folder_that_was_restored_from_a_backup_is_opened_again(root: Path, tmp_path: Path) -> None:
    logs = OpenLogs(root)
    add(root, 290, 310)
    copy_index(root, tmp_path / "backup")
    add(root, 310, 320)
    assert len(logs.get("made").log) == 320
    shutil.rmtree(root)
    copy_index(tmp_path / "backup", root)
    assert len(logs.get("made").log) == 310
    add(root, 320, 330)
    seen = logs.get("made")
    shutil.rmtree(root)
    copy_index(tmp_path / "backup", root)
    add(root, 0, 1)
    again = logs.get("made")
    assert (len(seen.log), len(again.log), again.log.base is seen.log.base) == (320, 310, False)
