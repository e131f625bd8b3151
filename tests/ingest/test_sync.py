"""Keeping a collection in step with its source, and what the journal remembers."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cbir.errors import ImageError
from cbir.index.layout import JOURNAL
from cbir.index.stored_ids import StoredIds
from cbir.models.embedder import Embedder
from cbir.pipeline.journal import Journal, read_failures
from cbir.pipeline.report import IngestReport
from cbir.pipeline.run import Policy, ingest
from cbir.records import Failure, Item
from cbir.settings import Settings
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source
from cbir.stores.registry import open_store
from tests.ingest.test_ingest import COMMAND, run
from tests.support.building import catalogs, points_of, unit_vectors
from tests.support.examples import SampleImages

SYNC = Policy(remove_missing=True)


@pytest.fixture
def photos(photo_folder: Path, tmp_path: Path) -> Path:
    """A folder of 12 pictures that a test may change."""
    for path in sorted(photo_folder.rglob("*.png"))[::26][:12]:
        target = tmp_path / "photos" / path.relative_to(photo_folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return tmp_path / "photos"


def sync(photos: Path, model_file: Path, policy: Policy = SYNC, **settings: Any) -> IngestReport:
    source = open_source(str(photos), SourceOptions())
    return ingest(source, catalogs(f"faiss:{photos.parent}/index"), model_file, Settings(**settings), policy=policy)


def keys(photos: Path) -> set[str]:
    store = open_store(f"faiss:{photos.parent}/index", None, Settings())
    found = {str(point.payload["key"]) for point in store.points()}
    hits = store.search(store.matrix()[1][:1], 50)[0]
    store.close()
    assert {hit.key for hit in hits} == found, "the index holds other points than the log"
    return found


def files(photos: Path) -> list[Path]:
    return sorted(photos.rglob("*.png"))


def names(photos: Path) -> set[str]:
    return {path.relative_to(photos).as_posix() for path in files(photos)}


def test_sync_embeds_what_changed_removes_what_is_gone_and_says_so(
    photos: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded: list[int] = []
    run_model = Embedder.run
    monkeypatch.setattr(
        Embedder, "run", lambda self, pixels: (embedded.append(len(pixels)), run_model(self, pixels))[1]
    )
    first = sync(photos, model_file)
    assert (first.stored, first.changed, first.removed, sum(embedded)) == (12, 0, 0, 12)
    touched, changed, gone, *_ = files(photos)
    os.utime(touched, (1, 1))  # another time, the same bytes: read, not embedded
    shutil.copyfile(files(photos)[5], changed)
    gone.unlink()
    (photos / "new.png").write_bytes(files(photos)[6].read_bytes())
    embedded.clear()
    second = sync(photos, model_file)
    assert (second.read, second.stored, second.changed, second.unchanged, second.removed) == (12, 2, 1, 10, 1)
    assert second.removed_keys == [gone.relative_to(photos).as_posix()]
    assert sum(embedded) == 2
    assert keys(photos) == names(photos)
    third = sync(photos, model_file)
    assert (third.stored, third.removed, third.unchanged) == (0, 0, 12)


def test_what_was_removed_can_come_back_and_without_sync_nothing_is_removed(photos: Path, model_file: Path) -> None:
    sync(photos, model_file)
    path = files(photos)[3]
    kept = path.read_bytes()
    path.unlink()
    added = sync(photos, model_file, Policy())
    assert (added.missing, added.removed, len(keys(photos))) == (1, 0, 12)
    assert sync(photos, model_file).removed == 1
    assert keys(photos) == names(photos)
    path.write_bytes(kept)
    assert sync(photos, model_file).stored == 1
    assert keys(photos) == names(photos)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_what_lies_in_a_folder_that_cannot_be_listed_is_not_removed(photos: Path, model_file: Path) -> None:
    sync(photos, model_file)
    folder = files(photos)[0].parent
    folder.chmod(0)
    try:
        assert sync(photos, model_file).removed == 0
    finally:
        folder.chmod(0o700)


def test_an_unlisted_folder_keeps_its_pictures(photos: Path, model_file: Path) -> None:
    from dataclasses import replace

    sync(photos, model_file)
    folder = files(photos)[0].parent
    source = open_source(str(photos), SourceOptions())
    inside = [item for item in source.items if item.key.startswith(f"{folder.name}/")]
    rest = [item for item in source.items if item not in inside]

    def closed() -> bytes:
        raise ImageError("cannot list this folder: Permission denied")

    broken = replace(source, items=[*rest[1:], Item(folder.name, closed)])
    summary = ingest(broken, catalogs(f"faiss:{photos.parent}/index"), model_file, Settings(), policy=SYNC)
    assert summary.removed_keys == [rest[0].key]


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


def test_copies_are_counted_and_left_out_if_asked(photos: Path, model_file: Path) -> None:
    original = files(photos)[4]
    (photos / "zz").mkdir()
    shutil.copyfile(original, photos / "zz" / "copy.png")
    Image.open(original).convert("RGB").resize((200, 200)).save(photos / "zz" / "like it.jpg", quality=80)
    exact = sync(photos, model_file)
    assert (exact.stored, exact.duplicates) == (14, 1)
    shutil.rmtree(photos.parent / "index")
    summary = sync(photos, model_file, Policy(skip_duplicates=True, near_duplicates=4))
    name = original.relative_to(photos).as_posix()
    assert summary.duplicates == 2
    assert {(one["key"], one["original"]) for one in summary.copies} == {
        ("zz/copy.png", name),
        ("zz/like it.jpg", name),
    }
    assert (summary.stored, summary.skipped) == (12, 2)
    again = sync(photos, model_file, Policy(skip_duplicates=True, near_duplicates=4))
    assert (again.stored, again.skipped, again.unchanged) == (0, 2, 12)
    groups = json.loads(run("duplicates", "--store", f"faiss:{photos.parent}/index", "--near", 4, "--json").stdout)
    assert groups == []


def test_duplicates_are_named_from_what_is_stored(photos: Path, model_file: Path) -> None:
    original = files(photos)[4]
    (photos / "zz").mkdir()
    shutil.copyfile(original, photos / "zz" / "copy.png")
    Image.open(original).convert("RGB").resize((200, 200)).save(photos / "zz" / "like it.jpg", quality=80)
    sync(photos, model_file)
    name, store = original.relative_to(photos).as_posix(), f"faiss:{photos.parent}/index"
    assert json.loads(run("duplicates", "--store", store, "--json").stdout) == [[name, "zz/copy.png"]]
    near = json.loads(run("duplicates", "--store", store, "--near", 4, "--json").stdout)
    assert near == [[name, "zz/copy.png", "zz/like it.jpg"]]


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
    assert found == names(photos)


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


def test_points_are_changed_and_deleted_by_key_and_filter(photos: Path, model_file: Path) -> None:
    sync(photos, model_file)
    store = ("--store", f"faiss:{photos.parent}/index")
    first, second, *_ = sorted(names(photos))
    assert run("update", "season=Winter", "--id", first, "--id", second, *store).stdout == "2 points changed\n"
    for command in (["delete"], ["update", "season=Summer"]):
        refused = run(*command, "--filter", "seasn=Winter", *store, code=2).stderr
        assert "no image has a field 'seasn'. Nearest: season" in refused
        assert "say which points" in run(*command, *store, code=2).stderr
    assert keys(photos) == names(photos)
    assert run("delete", "--filter", "season=Winter", *store).stdout == "2 points removed\n"
    assert keys(photos) == names(photos) - {first, second}


@pytest.mark.slow
def test_watch_follows_what_happens_in_the_folder(photos: Path) -> None:
    command = [*COMMAND, "sync", str(photos), "--store", f"faiss:{photos.parent}/index", "--watch", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        first = json.loads(process.stdout.readline())
        assert first["stored"] == 12
        files(photos)[0].unlink()
        Image.new("RGB", (40, 40), "green").save(photos / "green.png")
        seen = [json.loads(process.stdout.readline())]
        while sum(one["removed"] for one in seen) < 1 or sum(one["stored"] for one in seen) < 1:
            seen.append(json.loads(process.stdout.readline()))
        assert keys(photos) == names(photos)
        start = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
        assert time.monotonic() - start < 5
        assert process.returncode == 130
        assert "Traceback" not in errors
    finally:
        process.kill()
        process.wait()


def test_sync_of_a_part_of_a_source_is_refused(photos: Path) -> None:
    assert "`sync` needs the whole source" in run("sync", photos, "--limit", 3, code=2).stderr
    assert "--watch goes with sync" in run(photos, "--watch", code=2).stderr


def test_perceptual_hashes_tell_pictures_apart(sample_images: SampleImages) -> None:
    import io

    from cbir.search.duplicates import perceptual_hash

    def jpeg(image: Image.Image) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=85)
        return buffer.getvalue()

    images = [Image.open(io.BytesIO(data)).convert("RGB") for _, _, data in sample_images[:40]]
    codes = np.unpackbits(np.stack([perceptual_hash(jpeg(image)) for image in images]), axis=1)
    smaller = np.unpackbits(np.stack([perceptual_hash(jpeg(image.resize((150, 150)))) for image in images]), axis=1)
    assert (codes != smaller).sum(axis=1).max() <= 4
    differ = (codes[:, None] != codes[None]).sum(axis=2)[~np.eye(len(images), dtype=bool)]
    assert np.median(differ) > 20
