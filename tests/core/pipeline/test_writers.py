"""A collection's writer and its journal: what is stored in both, and when."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from cbir.errors import DiskFullError
from cbir.models.sealed import find_model
from cbir.pipeline import writers
from cbir.pipeline.journal import Journal
from cbir.pipeline.writers import Target, failed_in_all, open_targets, publish_all, stored_in_all
from cbir.progress import silent
from cbir.records import Failure
from cbir.settings import MAX_MEGAPIXELS
from tests.support.building import catalogs, plan_for, points_of, unit_vectors

VECTORS = unit_vectors(10)
POINTS = points_of(VECTORS)
BROKEN = Failure("00000000-0000-0000-0000-000000000001", "x.jpg", "broken")


def opened(*urls: str):  # type: ignore[no-untyped-def]
    return open_targets(catalogs(*urls), plan_for(VECTORS), find_model("efficientnet_lite0"), MAX_MEGAPIXELS)


def test_what_a_store_has_with_the_same_digest_is_not_written_again(tmp_path: Path) -> None:
    url = f"faiss:{tmp_path}/index?index=Flat"
    with opened(url) as (target,):
        target.write(POINTS[:4], [BROKEN])
        target.flush()
        publish_all([target], silent)
    with opened(url, f"faiss:{tmp_path}/other?index=Flat") as targets:
        stored = stored_in_all(targets)
        assert not stored(POINTS[0].id, "", POINTS[0].digest), "the second store has nothing"
        assert stored_in_all(targets[:1])(POINTS[0].id, "", POINTS[0].digest)
        assert not stored_in_all(targets[:1])(POINTS[0].id, "other", "other")
        assert set(failed_in_all(targets[:1])) == {BROKEN.id}
        assert not failed_in_all(targets)
        targets[0].write(POINTS, [])
        targets[0].delete([POINTS[9].id])
        targets[0].flush()
        publish_all(targets[:1], silent)
    with opened(url) as (target,):
        assert len(target.writer.stored_ids) == 9
        assert not target.writer.needs_publishing


def test_the_journal_is_written_after_the_points_and_only_when_it_is_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def recorded(target: Target) -> list[str]:
        journal = Journal(target.writer.journal_path, MAX_MEGAPIXELS)
        found = journal.keys_with(str(POINTS[0].payload["sha256"]), BROKEN.id)
        journal.close()
        return found

    with opened(f"faiss:{tmp_path}/index?index=Flat") as (target,):
        monkeypatch.setattr(writers, "_FLUSH_SECONDS", 1000.0)
        target.write(POINTS, [])
        assert not target.flush_if_due()
        assert recorded(target) == []
        monkeypatch.setattr(writers, "_FLUSH_SECONDS", 0.0)
        assert target.flush_if_due()
        assert recorded(target) == ["0"]
        assert np.all([point.id in target.journal.keys([point.id]) for point in POINTS])


def test_a_full_disk_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError), opened(f"faiss:{tmp_path}/index?index=Flat"):
        raise OSError(28, "No space left on device", str(tmp_path))


def test_a_journal_is_read_again_only_if_something_may_have_changed_it(tmp_path: Path) -> None:
    """A row is removed behind its back: first so that nobody can tell, then as any program would."""
    url, path = f"faiss:{tmp_path}/index?index=Flat", tmp_path / "index" / "made" / "journal.sqlite"
    ids = [point.id for point in POINTS]

    def remove_a_row() -> None:
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("DELETE FROM stored WHERE id = (SELECT id FROM stored LIMIT 1)")

    def rows() -> int:
        with opened(url) as (target,):
            return sum(point_id != key for point_id, key in target.journal.keys(ids).items())

    with opened(url) as (target,):
        target.write(POINTS, [])
        target.flush()
        publish_all([target], silent)
    before = path.stat()
    remove_a_row()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, rows()) == (before.st_size, 9)
    remove_a_row()
    assert rows() == 10, "it was changed, and is compared with the store"
    with opened(url) as (target,):
        target.writer.delete(ids[:3])
        target.writer.flush()
    assert rows() == 7, "a change that was broken off is not in the journal yet"
