"""What the journal remembers, and what it costs if it is lost."""

import os
import sqlite3
from pathlib import Path

import pytest
from PIL import Image

from cbir.index.layout import JOURNAL
from cbir.index.stored_ids import StoredIds
from cbir.models.embedder import Embedder
from cbir.pipeline.journal import Journal, read_failures
from cbir.pipeline.run import Policy
from cbir.records import Failure
from tests.support.building import points_of, unit_vectors
from tests.support.ingesting import file_keys, files, some_images, sync


@pytest.fixture
def photos(photo_folder: Path, tmp_path: Path) -> Path:
    """A folder of 12 images that a test may change."""
    return some_images(photo_folder, tmp_path / "photos", 12)


def test_a_failure_is_remembered_until_its_file_changes_or_it_is_asked_for(
    photos: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = photos / "bad.png"
    bad.write_bytes(b"no picture")
    tried: list[int] = []
    decode = Embedder.decode
    monkeypatch.setattr(Embedder, "decode", lambda self, *rest: (tried.append(1), decode(self, *rest))[1])
    first = sync(photos, model_file)
    assert (first.skipped, first.remembered, len(tried)) == (1, 0, 13)
    tried.clear()
    second = sync(photos, model_file)
    assert (second.skipped, second.remembered, second.reasons, tried) == (1, 1, first.reasons, [])
    os.utime(bad, (5, 5))  # touched: read again, and the bytes are the same
    assert (sync(photos, model_file).remembered, tried) == (1, [])
    assert sync(photos, model_file, Policy(retry_failed=True)).skipped == len(tried) == 1
    assert sync(photos, model_file, max_image_megapixels=50.0).skipped == 1
    assert len(tried) == 2, "another limit: tried again"
    journal = next(photos.parent.glob(f"index/*/{JOURNAL}"))
    (failure,) = read_failures(journal)
    assert (failure.key, failure.reason) == ("bad.png", "not an image of a known format")
    Image.new("RGB", (30, 30), "blue").save(bad)
    assert sync(photos, model_file).stored == 1
    assert read_failures(journal) == []
    bad.write_bytes(b"broken again")
    assert sync(photos, model_file).skipped == 1
    bad.unlink()
    sync(photos, model_file)
    assert read_failures(journal) == []


def test_a_damaged_or_foreign_journal_costs_no_picture(photos: Path, model_file: Path) -> None:
    sync(photos, model_file)
    journal = next(photos.parent.glob(f"index/*/{JOURNAL}"))
    journal.write_bytes(b"\0" * 5000)
    assert sync(photos, model_file).unchanged == 12
    with sqlite3.connect(journal) as db:  # ahead of the store: it says that something is stored which is not
        db.execute("INSERT INTO stored VALUES (?, 'stranger', '')", (b"x" * 16,))
        db.execute("DELETE FROM stored WHERE key != 'stranger' AND key < 'c'")
    files(photos)[0].unlink()
    summary = sync(photos, model_file)
    assert (summary.stored, summary.removed) == (0, 1)
    with sqlite3.connect(journal) as db:
        found = {key for (key,) in db.execute("SELECT key FROM stored")}
    assert found == file_keys(photos)


def test_the_journal_counts_from_its_commit_on(tmp_path: Path) -> None:
    path, points = tmp_path / "journal", points_of(unit_vectors(3))
    journal = Journal(path, 40)
    journal.record(points[:1], [Failure(points[1].id, "one", "broken", "v", "s")])
    journal.commit()
    journal.record(points[2:], [Failure(points[0].id, "zero", "broken too")])
    journal.close()  # without a commit: as if the process had died
    again = Journal(path, 40)
    assert set(again.failures) == {points[1].id}
    assert again.keys([points[0].id, points[2].id]) == {points[0].id: "0", points[2].id: points[2].id}
    again.reconcile(StoredIds.of([]), iter([]))
    assert again.keys([points[0].id]) == {points[0].id: points[0].id}
    again.close()
