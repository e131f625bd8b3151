"""What the journal remembers, and what it costs if it is lost."""

import os
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from cbir.errors import CbirError
from cbir.index.layout import JOURNAL
from cbir.index.stored_ids import StoredIds
from cbir.models.embedder import Embedder
from cbir.pipeline.journal import Journal, read_failures
from cbir.pipeline.run import Policy
from cbir.records import Failure, id_bytes
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


def test_images_are_found_by_their_bytes_once_they_are_committed(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    journal = Journal(folder / "journal", 40)
    assert (journal.first_key(), journal.ids_with("same")) == ("", [])
    points = [
        replace(point, payload={**point.payload, "sha256": "other" if number == 12 else "same"})
        for number, point in enumerate(points_of(unit_vectors(13)))
    ]
    journal.record(points[:1], [])
    assert (journal.keys([points[0].id]), journal.sha256_of(points[0].id)) == ({points[0].id: "0"}, "")
    journal.commit()
    assert (journal.first_key(), journal.sha256_of(points[0].id)) == ("0", "same")
    journal.record(points[1:], [])
    journal.commit(removed=[points[2].id])
    assert journal.keys_with("same", points[0].id) == ["1", "10", "11", *map(str, range(3, 10))]
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(journal.ids_with, "same").result()
    assert len(set(found)) == 10
    assert set(found) < {point.id for point in points if point.payload["key"] not in ("2", "12")}
    assert [journal.sha256_of(points[number].id) for number in (2, 12)] == ["", "other"]
    assert journal.hashes_among([*map(str, range(2000)), "other", "same"]) == {"other", "same"}
    journal.close()
    assert [file.name for file in folder.iterdir()] == ["journal"], "SQLite's files go with the last connection"


def test_a_journal_is_closed_while_threads_look_images_up(tmp_path: Path) -> None:
    """Closing a connection that another thread uses ends the process with a segmentation fault."""
    journal = Journal(tmp_path / "journal.sqlite", 40.0)
    journal.record(points_of(unit_vectors(500)), [])
    journal.commit()
    journal.close()
    for _ in range(20):
        journal, looked_up = Journal(tmp_path / "journal.sqlite", 40.0), threading.Event()

        def look_up(journal: Journal = journal, looked_up: threading.Event = looked_up) -> None:
            with pytest.raises(sqlite3.ProgrammingError, match="closed"):
                while journal.ids_with("7 1"):
                    looked_up.set()

        with ThreadPoolExecutor(3) as pool:
            threads = [pool.submit(look_up) for _ in range(3)]
            assert looked_up.wait(60)
            journal.close()
        for thread in threads:
            thread.result()


def test_a_failure_is_forgotten_when_the_source_has_lost_its_image(tmp_path: Path) -> None:
    path, points = tmp_path / "journal", points_of(unit_vectors(2))
    journal = Journal(path, 40)
    journal.record([], [Failure(point.id, str(point.payload["key"]), "broken", "v", "s") for point in points])
    journal.commit(forgotten=["b6d7c0c4-6f0e-5d0e-9c43-1f6b1f0c8a51"])
    journal.commit(forgotten=[points[0].id])
    assert [failure.key for failure in read_failures(path)] == ["1"]
    assert set(Journal(path, 40).failures) == {points[1].id}
    assert Journal(path, 50).failures == {}, "another limit: tried again"


def test_a_store_with_the_same_ids_is_not_described_again(tmp_path: Path) -> None:
    points = points_of(unit_vectors(3))
    journal = Journal(tmp_path / "journal", 40)
    journal.record(points[:2], [])
    journal.commit()
    for wrong in (points[:2], points[1:], points):
        stored = StoredIds.of((id_bytes(point.id), "", "") for point in wrong)
        journal.reconcile(stored, ((point.id, point.payload) for point in wrong))
        assert set(journal.keys([point.id for point in points]).values()) >= {point.payload["key"] for point in wrong}
        journal.reconcile(stored, iter([("no id", {})]))
    journal.close()


def test_a_damaged_journal_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    assert read_failures(path) == []
    path.write_bytes(bytes(5000))
    with pytest.raises(CbirError, match=r"journal is damaged \(.*\)\. The next ingest replaces it\."):
        read_failures(path)
