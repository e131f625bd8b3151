"""Stored images that the source no longer has: which of them `sync` removes, and when it refuses to."""

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from cbir.errors import ImageError, UsageError
from cbir.pipeline.journal import Journal, read_failures
from cbir.pipeline.report import IngestReport
from cbir.pipeline.run import Policy, ingest
from cbir.records import Item
from cbir.settings import Settings
from cbir.sources.base import SourceOptions, unusable
from cbir.sources.registry import open_source
from tests.support.building import catalogs
from tests.support.ingesting import SYNC, file_keys, files, some_images, stored_keys, sync


@pytest.fixture
def source_folder(photo_folder: Path, tmp_path: Path) -> Path:
    """A folder of 12 images that a test may change."""
    return some_images(photo_folder, tmp_path / "photos", 12)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_what_lies_in_a_folder_that_cannot_be_listed_is_not_removed(source_folder: Path, model_file: Path) -> None:
    sync(source_folder, model_file)
    folder = files(source_folder)[0].parent
    folder.chmod(0)
    try:
        assert sync(source_folder, model_file).removed == 0
    finally:
        folder.chmod(0o700)


def test_an_unlisted_folder_keeps_its_pictures(source_folder: Path, model_file: Path) -> None:
    sync(source_folder, model_file)
    folder = files(source_folder)[0].parent
    source = open_source(str(source_folder), SourceOptions())
    inside = [item for item in source.items if item.key.startswith(f"{folder.name}/")]
    rest = [item for item in source.items if item not in inside]

    def closed() -> bytes:
        raise ImageError("cannot list this folder: Permission denied")

    broken = replace(source, items=[*rest[1:], Item(folder.name, closed)])
    summary = ingest(broken, catalogs(f"faiss:{source_folder.parent}/index"), model_file, Settings(), policy=SYNC)
    assert summary.removed_keys == [rest[0].key]


def test_a_sync_that_would_remove_too_much_is_refused_and_changes_nothing(
    source_folder: Path, model_file: Path
) -> None:
    """A folder that is not mounted, or a wrong one, has few of the stored images."""
    sync(source_folder, model_file)
    before, kept = stored_keys(source_folder), files(source_folder)[:9]
    for path in files(source_folder)[9:]:
        path.unlink()
    shutil.copyfile(kept[0], source_folder / "new.png")
    too_much = r"sync would remove 3 of 12 points from .*, more than 20%.* --max-delete 25% removes them"
    with pytest.raises(UsageError, match=too_much):
        sync(source_folder, model_file)
    assert stored_keys(source_folder) == before
    report = sync(source_folder, model_file, replace(SYNC, max_delete=0.25))
    assert (report.stored, report.removed) == (1, 3)
    assert stored_keys(source_folder) == file_keys(source_folder)


def test_images_below_an_unlisted_folder_do_not_count_as_missing(source_folder: Path, model_file: Path) -> None:
    sync(source_folder, model_file)
    source = open_source(str(source_folder), SourceOptions())
    kept = next(iter(source.items))
    folders = [
        Item(name, partial(unusable, "cannot list this folder"))
        for name in {k.split("/")[0] for k in stored_keys(source_folder)}
    ]
    broken = replace(source, items=[kept, *folders])
    report = ingest(broken, catalogs(f"faiss:{source_folder.parent}/index"), model_file, Settings(), policy=SYNC)
    assert (report.removed, report.missing, report.skipped) == (0, 0, len(folders))


@pytest.mark.parametrize("bad", ["img.csv", "img.jsonl"])
def test_a_row_that_cannot_be_read_keeps_every_picture(
    bad: str, source_folder: Path, model_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The row may be that of any stored image."""
    table = source_folder / bad
    keys = sorted(file_keys(source_folder))
    rows = [json.dumps({"path": key}) if bad.endswith("l") else f"{key},1" for key in keys]
    head = [] if bad.endswith("l") else ["path,n"]

    def sync_rows(*lines: str, policy: Policy = SYNC) -> IngestReport:
        table.write_text("\n".join([*head, *lines]) + "\n")
        source = open_source(str(table), SourceOptions())
        return ingest(source, catalogs(f"faiss:{source_folder.parent}/index"), model_file, Settings(), policy=policy)

    sync_rows(*rows)
    broken = rows[-1] + ",2,3"
    for policy in (SYNC, replace(SYNC, dry_run=True), Policy()):
        report = sync_rows(rows[0], broken, policy=policy)
        assert (report.skipped, report.missing, report.removed) == (1, 0, 0)
    nothing = f"nothing is removed, because rows of {table} cannot be read, such as row 2. Correct them, and run sync"
    assert sum(nothing in record.getMessage() for record in caplog.records) == 2
    assert stored_keys(source_folder) == set(keys)
    assert sync_rows(*rows[:-1]).removed_keys == [keys[-1]]


def test_images_of_another_folder_are_added_without_a_look_at_each_stored_one(
    source_folder: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync(source_folder, model_file)
    requested: list[list[str]] = []
    keys = Journal.keys

    def counted(journal: Journal, ids: Iterable[str]) -> dict[str, str]:
        requested.append(list(ids))
        return keys(journal, requested[-1])

    monkeypatch.setattr(Journal, "keys", counted)
    for path in files(source_folder)[2:]:
        path.unlink()
    assert sync(source_folder, model_file, Policy()).missing == 10
    assert requested == []
    assert sync(source_folder, model_file, replace(SYNC, max_delete=1)).removed == 10
    assert sum(map(len, requested)) >= 10


def test_an_image_that_was_moved_is_not_missing(source_folder: Path, model_file: Path) -> None:
    """Neither in a sync after a move, nor after an `add` has stored it under its new name, too."""
    sync(source_folder, model_file)
    keys = sorted(file_keys(source_folder))
    for path in files(source_folder)[:10]:
        path.rename(source_folder / f"moved-{path.name}")
    gone = files(source_folder)[-1]
    gone.rename(source_folder.parent / "elsewhere")
    policy = replace(SYNC, max_delete=0.08)
    with pytest.raises(UsageError, match=r"would remove 1 of 12 points .* --max-delete 9% removes them"):
        sync(source_folder, model_file, policy)
    assert stored_keys(source_folder) == set(keys)
    (source_folder.parent / "elsewhere").rename(gone)
    added = sync(source_folder, model_file, Policy())
    assert (added.stored, added.reused, added.renamed, added.missing) == (10, 10, 0, 10)
    report = sync(source_folder, model_file, policy)
    assert (report.unchanged, report.removed) == (12, 10)
    assert stored_keys(source_folder) == file_keys(source_folder)


def test_a_sync_of_some_files_compares_these_alone(source_folder: Path, model_file: Path) -> None:
    sync(source_folder, model_file)
    paths = files(source_folder)
    (source_folder / "broken.png").write_bytes(b"no image")
    sync(source_folder, model_file)
    moved, gone, unseen = paths[:3]
    renamed = moved.with_name("renamed.png")
    moved.rename(renamed)
    gone.unlink()
    unseen.unlink()
    only = frozenset(path.relative_to(source_folder).as_posix() for path in (moved, renamed, gone))
    source = open_source(str(source_folder), SourceOptions(only=only))
    places = catalogs(f"faiss:{source_folder.parent}/index")
    report = ingest(source, places, model_file, Settings(), policy=SYNC)
    assert (report.read, report.stored, report.reused, report.renamed, report.removed) == (1, 1, 1, 1, 1)
    assert stored_keys(source_folder) - file_keys(source_folder) == {unseen.relative_to(source_folder).as_posix()}
    (journal,) = (catalog.journal(report.collection) for catalog in places)
    assert [failure.key for failure in read_failures(journal)] == ["broken.png"]


def test_a_sync_of_a_folder_that_is_gone_removes_its_images_unless_there_are_too_many(
    source_folder: Path, model_file: Path
) -> None:
    sync(source_folder, model_file)
    before, (folder, *_) = stored_keys(source_folder), sorted(source_folder.iterdir())
    shutil.rmtree(folder)
    source = open_source(str(source_folder), SourceOptions(only=frozenset({folder.name})))
    places = catalogs(f"faiss:{source_folder.parent}/index")
    with pytest.raises(UsageError, match="--max-delete"):
        ingest(source, places, model_file, Settings(), policy=replace(SYNC, max_delete=0.01))
    assert stored_keys(source_folder) == before
    report = ingest(source, places, model_file, Settings(), policy=replace(SYNC, max_delete=0.9))
    assert set(report.removed_keys) == before - file_keys(source_folder) != set()
