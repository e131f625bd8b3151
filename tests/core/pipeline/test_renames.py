"""A renamed image keeps its vector, its thumbnail and what was edited; only its key changes."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cbir
from cbir.errors import CbirError
from cbir.pipeline.report import IngestReport
from cbir.pipeline.run import Policy, ingest
from cbir.records import Item, Point
from cbir.settings import Settings
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source
from tests.support.building import catalogs
from tests.support.ingesting import (
    SYNC,
    count_embedded,
    file_keys,
    files,
    fill,
    points_by_key,
    run,
    some_images,
    stored,
    stored_keys,
    stores,
    sync,
)
from tests.support.killing import watched
from tests.support.signal_point import SignalPoint

ROUNDS = 4


@pytest.fixture
def photos(photo_folder: Path, tmp_path: Path) -> Path:
    """A folder of 12 images that a test may change."""
    return some_images(photo_folder, tmp_path / "photos", 12)


def move_all(photos: Path, into: str) -> None:
    """Move everything in a folder to a folder in it."""
    for path in files(photos):
        target = photos / into / path.relative_to(photos)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)


def require_same(points: dict[str, Point], expected: dict[str, Point]) -> None:
    """Raise unless both have the same points."""
    assert points.keys() == expected.keys()
    for key, point in points.items():
        assert (point.id, dict(point.payload)) == (expected[key].id, dict(expected[key].payload))
        assert point.thumbnail == expected[key].thumbnail
        assert np.allclose(point.vector, expected[key].vector, atol=1e-4)


def test_a_folder_that_was_moved_is_renamed_and_nothing_is_embedded_or_refused(
    photos: Path, model_file: Path, urls: list[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(photos, model_file, urls, name)
    keys = sorted(file_keys(photos))
    move_all(photos, "2024")
    embedded = count_embedded(monkeypatch)
    expected = [{"key": f"2024/{key}", "old_key": key} for key in keys]
    for policy in (replace(SYNC, dry_run=True), SYNC):
        report = fill(photos, model_file, urls, name, policy)
        assert (report.stored, report.reused, report.renamed) == (12, 12, 12)
        assert (report.unchanged, report.missing, report.removed, report.duplicates) == (0, 0, 0, 0)
        assert sorted(report.renames, key=lambda rename: rename["key"]) == expected
    assert embedded == []
    report = fill(photos, model_file, urls, name, SYNC)
    assert (report.unchanged, report.stored, report.removed) == (12, 0, 0)
    fresh = f"faiss:{photos.parent}/fresh"
    fill(photos, model_file, [fresh], name)
    for url in urls:
        require_same(points_by_key(url, name), points_by_key(fresh, name))


def test_what_was_edited_stays_and_the_rest_follows_the_new_name(photos: Path, model_file: Path) -> None:
    sync(photos, model_file)
    labelled, unlabelled, seen, plain, *_ = (path.relative_to(photos).as_posix() for path in files(photos))
    with cbir.open(f"faiss:{photos.parent}/index") as opened:
        opened.update({"label": "Mine"}, ids=[labelled])
        opened.update({"label": None}, ids=[unlabelled])
        opened.update({"seen": True}, ids=[seen])
    for path in files(photos):
        path.rename(photos / f"{path.parent.name}-{path.name}")
    assert sync(photos, model_file).renamed == 12
    assert sync(photos, model_file).unchanged == 12
    found = points_by_key(f"faiss:{photos.parent}/index", "photos-efficientnet_lite0")

    def fields(key: str) -> dict[str, object]:
        return {name: value for name, value in found[key.replace("/", "-")].payload.items() if name != "sha256"}

    assert fields(labelled) == {"key": labelled.replace("/", "-"), "label": "Mine"}
    assert fields(unlabelled) == {"key": unlabelled.replace("/", "-")}
    assert fields(seen) == {"key": seen.replace("/", "-"), "label": None, "seen": True}
    assert fields(plain) == {"key": plain.replace("/", "-"), "label": None}


def test_a_row_with_a_new_key_keeps_what_its_columns_do_not_say(photos: Path, model_file: Path) -> None:
    table, url = photos / "list.csv", f"faiss:{photos.parent}/index?index=Flat"
    keys = sorted(file_keys(photos))

    def sync_rows(prefix: str, year: int) -> IngestReport:
        rows = [f"{key},{prefix}{number},{year},Shoes" for number, key in enumerate(keys)]
        table.write_text("\n".join(["path,key,year,label", *rows]) + "\n")
        source = open_source(str(table), SourceOptions(key="key"))
        return ingest(source, catalogs(url), model_file, Settings(), "rows", policy=SYNC)

    sync_rows("a", 2024)
    with cbir.open(url) as opened:
        opened.update({"seen": True, "year": 1999, "label": "Mine"}, ids=["a3"])
    assert sync_rows("b", 2025).renamed == 12
    found = {key: dict(point.payload) for key, point in points_by_key(url, "rows").items()}
    del found["b3"]["sha256"]
    assert found["b3"] == {"key": "b3", "key_": "b3", "label": "Shoes", "year": "2025", "seen": True}
    assert "seen" not in found["b4"]


def test_what_was_edited_stays_until_the_bytes_change(
    photos: Path, model_file: Path, urls: list[str], name: str, tmp_path: Path
) -> None:
    fill(photos, model_file, urls, name)
    edited, unlabelled, changed, *_ = (path.relative_to(photos).as_posix() for path in files(photos))
    with cbir.open(urls, name) as opened:
        opened.update({"label": "Mine", "season": "Winter"}, ids=[edited, changed])
        opened.update({"label": None}, ids=[unlabelled])
    Image.new("RGB", (30, 30), "red").save(photos / changed)
    for path in files(photos):
        os.utime(path, (1, 1))
    for policy, fresh in ((replace(SYNC, dry_run=True), 1), (SYNC, 1), (SYNC, 0)):
        report = fill(photos, model_file, urls, name, policy)
        assert (report.unchanged, report.stored, report.changed, report.reused) == (12 - fresh, fresh, fresh, 0)
    another = f"faiss:{tmp_path}/another"
    assert fill(photos, model_file, [*urls, another], name).stored == 12
    for url in (*urls, another):
        found = {key: dict(point.payload) for key, point in points_by_key(url, name).items()}
        assert (found[edited]["label"], found[edited]["season"]) == ("Mine", "Winter")
        assert "label" not in found[unlabelled]
        assert (found[changed]["label"], "season" in found[changed]) == (changed.partition("/")[0], False)


def test_what_was_edited_stays_until_the_row_changes(photos: Path, model_file: Path) -> None:
    table, url = photos / "list.csv", f"faiss:{photos.parent}/index?index=Flat"
    paths = files(photos)

    def sync_rows(year: int, date: int) -> IngestReport:
        rows = [f"{path.relative_to(photos)},{year},Shoes" for path in paths]
        table.write_text("\n".join(["path,year,label", *rows]) + "\n")
        for path in paths:
            os.utime(path, (date, date))
        source = open_source(str(table), SourceOptions())
        return ingest(source, catalogs(url), model_file, Settings(), "rows", policy=SYNC)

    sync_rows(2024, date=1)
    with cbir.open(url) as opened:
        assert opened.update({"seen": True, "year": 1999, "label": "Mine"}, filter="year=2024") == 12
        assert sync_rows(2024, date=2).unchanged == 12
        assert opened.count("seen=true and year=1999 and label=Mine") == 12
        assert sync_rows(2025, date=2).stored == 12
        assert opened.count("year=2025 and label=Shoes") == 12
        assert "seen" not in opened.fields()


def test_copies_that_are_moved_keep_their_names(photos: Path, model_file: Path) -> None:
    """Which of the old points a new one replaces is not a matter of chance."""
    first, second, *_ = files(photos)
    shutil.copyfile(first, second)
    sync(photos, model_file)
    with cbir.open(f"faiss:{photos.parent}/index") as opened:
        opened.update({"seen": 2}, ids=[second.relative_to(photos).as_posix()])
    move_all(photos, "2024")
    renames = {rename["key"]: rename["old_key"] for rename in sync(photos, model_file).renames}
    assert renames == {key: key.removeprefix("2024/") for key in file_keys(photos)}
    moved = f"2024/{second.relative_to(photos).as_posix()}"
    assert points_by_key(f"faiss:{photos.parent}/index", "photos-efficientnet_lite0")[moved].payload["seen"] == 2


def test_one_stored_image_is_renamed_once_and_only_to_a_new_key(photos: Path, model_file: Path) -> None:
    sync(photos, model_file)
    moved, overwritten, over, *_ = files(photos)
    shutil.copyfile(moved, photos / "a.png")
    moved.rename(photos / "b.png")
    overwritten.replace(over)
    report = sync(photos, model_file)
    assert (report.stored, report.changed, report.reused, report.renamed, report.removed) == (3, 1, 3, 1, 1)
    assert report.removed_keys == [overwritten.relative_to(photos).as_posix()]
    assert stored_keys(photos) == file_keys(photos)


def test_a_run_that_breaks_off_in_the_middle_is_finished_by_the_next(
    photos: Path, model_file: Path, urls: list[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(photos, model_file, urls, name)
    move_all(photos, "2024")
    source = open_source(str(photos), SourceOptions())
    items, rounds = list(source.items), iter(range(100))

    def broken() -> Iterator[Item]:
        yield from items[:6]
        if next(rounds) > 0:  # the keys of the source are read before
            raise ValueError("bad disk")
        yield from items[6:]

    class Broken:
        def __iter__(self) -> Iterator[Item]:
            return broken()

    with pytest.raises(CbirError, match="broke off"):
        stores = catalogs(*urls)
        ingest(
            replace(source, items=Broken()), stores, model_file, Settings(), name, policy=replace(SYNC, max_delete=1)
        )
    embedded = count_embedded(monkeypatch)
    report = fill(photos, model_file, urls, name, SYNC)
    assert (report.unchanged, report.renamed, report.removed, embedded) == (6, 6, 0, [])
    for url in urls:
        assert points_by_key(url, name).keys() == file_keys(photos)


def test_an_image_that_was_moved_before_an_add_keeps_its_edits_in_the_sync_after_it(
    photos: Path, model_file: Path
) -> None:
    sync(photos, model_file)
    edited = files(photos)[0].relative_to(photos).as_posix()
    with cbir.open(f"faiss:{photos.parent}/index") as opened:
        opened.update({"seen": True}, ids=[edited])
    move_all(photos, "2024")
    added = sync(photos, model_file, Policy())
    assert (added.stored, added.renamed, added.missing) == (12, 0, 12)
    assert sync(photos, model_file).removed == 12
    found = points_by_key(f"faiss:{photos.parent}/index", "photos-efficientnet_lite0")
    assert [key for key, point in found.items() if point.payload.get("seen")] == [f"2024/{edited}"]


@pytest.mark.parametrize("phase", ["upsert", "flush"])
def test_a_run_that_is_killed_in_the_middle_is_finished_by_the_next(photos: Path, tmp_path: Path, phase: str) -> None:
    """It is not refused, although points are stored under both keys."""
    arguments = ["sync", str(photos), *stores(tmp_path / "index"), "--json", "--batch-size", "2"]
    run(*arguments)
    before = stored(tmp_path / "index")
    move_all(photos, "2024")
    moment = SignalPoint(phase, 6 if phase == "upsert" else 1, lines=100, signal=signal.SIGKILL)
    command, environment = watched(arguments, tmp_path / "witness", moment)
    process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert process.returncode == -signal.SIGKILL
    again = json.loads(run(*arguments).stdout)
    assert (again["stored"], again["unchanged"] + again["renamed"]) == (again["reused"], 12)
    found = stored(tmp_path / "index")
    assert found.keys() == file_keys(photos)
    assert all((vector == before[key.removeprefix("2024/")][1]).all() for key, (_, vector) in found.items())


class Folder:
    """A folder whose files are changed at random. The images are small and differ from each other."""

    def __init__(self, root: Path, seed: int):
        self.root = root
        self._random = random.Random(seed)
        self._count = 0
        self._stored: list[Path] = []
        for _ in range(6):
            self._write(self._new_path())

    def change(self) -> None:
        """Rename, copy, edit, add or delete some files."""
        self._stored = files(self.root)
        for _ in range(self._random.randint(1, 5)):
            self._random.choice([self._rename, self._rename, self._copy, self._edit, self._add, self._delete])()

    def _new_path(self) -> Path:
        self._count += 1
        folder = self.root / self._random.choice(["", "a", "b", "a/c"])
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{self._random.choice(['x', 'y', f'n{self._count}'])}.png"

    def _write(self, path: Path) -> None:
        self._count += 1
        pixels = np.random.default_rng([self._count, self._random.getrandbits(30)]).integers(0, 255, (24, 24, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(path)

    def _one(self) -> Path | None:
        """Return one of the files that were stored and still are what they were."""
        kept = [path for path in self._stored if path.exists()]
        return self._random.choice(kept) if kept else None

    def _rename(self) -> None:
        if path := self._one():
            path.replace(self._new_path())

    def _copy(self) -> None:
        if path := self._one():
            shutil.copyfile(path, self._new_path())

    def _edit(self) -> None:
        if path := self._one():
            self._write(path)
            self._stored.remove(path)

    def _add(self) -> None:
        self._write(self._new_path())

    def _delete(self) -> None:
        if len(files(self.root)) > 2 and (path := self._one()):
            path.unlink()


def hashes(photos: Path) -> set[str]:
    """Return the SHA-256s of the images of a folder."""
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in files(photos)}


def test_after_any_changes_a_sync_equals_a_first_ingest_and_embeds_only_new_bytes(
    model_file: Path, urls: list[str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, soak: bool
) -> None:
    policy = Policy(remove_missing=True, max_delete=1.0)
    for seed in range(10 if soak else 1):
        photos = tmp_path / str(seed) / "photos"
        folder = Folder(photos, seed)
        collection = f"{name}-{seed}"
        fill(photos, model_file, urls, collection)
        for _ in range(ROUNDS):
            before = hashes(photos)
            folder.change()
            with monkeypatch.context() as patch:
                embedded = count_embedded(patch)
                report = fill(photos, model_file, urls, collection, policy)
            assert sum(embedded) == len(hashes(photos) - before) == report.stored - report.reused
        fresh = f"faiss:{tmp_path}/fresh"
        fill(photos, model_file, [fresh], collection)
        for url in urls:
            require_same(points_by_key(url, collection), points_by_key(fresh, collection))
