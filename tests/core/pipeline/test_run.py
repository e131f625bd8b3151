"""One ingest run: nothing is done twice, and the collection holds what the source has."""

import json
import os
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cbir.errors import CbirError, UsageError
from cbir.index import generation
from cbir.index.vector_log import VectorLog
from cbir.models import embedder as embedders
from cbir.models.embedder import Embedder
from cbir.pipeline import run as runs
from cbir.pipeline.run import Policy, ingest
from cbir.settings import Settings
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source
from cbir.stores.registry import open_store
from tests.support.building import both, catalogs
from tests.support.ingesting import (
    SYNC,
    count_embedded,
    file_keys,
    files,
    run,
    some_images,
    stored,
    stored_keys,
    stores,
    sync,
)
from tests.support.killing import watched
from tests.support.signal_point import SignalPoint


def test_a_small_ingest_opens_the_vector_log_once_and_hashes_none_of_it(
    index: Path, photo_folder: Path, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(index, tmp_path / "index")
    photos = tmp_path / "photos"
    shutil.copytree(photo_folder, photos)
    Image.new("RGB", (30, 30), "red").save(photos / "one-more.png")
    events: list[str] = []
    open_log, decode, record_of = VectorLog.__init__, Embedder.decode, generation.record_of

    def opened(self: VectorLog, source: Any, dimension: int) -> None:
        if isinstance(source, Path):
            events.append("open")
        open_log(self, source, dimension)

    def hashed(path: Path) -> Any:
        events.append(path.name)
        return record_of(path)

    def decoded(self: Embedder, data: bytes, max_megapixels: float) -> Any:
        events.append("decode")
        return decode(self, data, max_megapixels)

    monkeypatch.setattr(VectorLog, "__init__", opened)
    monkeypatch.setattr(generation, "record_of", hashed)
    monkeypatch.setattr(Embedder, "decode", decoded)
    source = open_source(str(photos), SourceOptions())
    plan = catalogs(*both(tmp_path / "index"))[0].plan("photos-efficientnet_lite0")
    assert plan is not None
    report = ingest(source, catalogs(*both(tmp_path / "index")), model_file, Settings(), dataset=plan.dataset)
    assert report.stored == 1
    assert events.count("open") == 1
    assert "decode" in events
    assert not [name for name in events if name.endswith(".log")]


def test_an_ingest_gives_its_settings_to_the_model(
    photo_folder: Path, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in a worker of a Ray job, whose own environment says nothing."""
    asked: list[tuple[Any, ...]] = []

    def open_session(data: bytes, device: str, threads: int, cache: Path) -> Any:
        asked.append((device, threads))
        raise KeyError("far enough")

    monkeypatch.setenv("CBIR_DEVICE", "auto")
    monkeypatch.setattr(embedders, "open_session", open_session)
    source = open_source(str(photo_folder), SourceOptions())
    settings = Settings(device="openvino", threads=3, cache=tmp_path)
    with pytest.raises(Exception, match="far enough"):
        runs.ingest(source, catalogs(f"edge:{tmp_path}/index"), model_file, settings)
    assert asked == [("openvino", 3)]


@pytest.fixture
def photos(photo_folder: Path, tmp_path: Path) -> Path:
    """A folder of 24 images that a test may change."""
    return some_images(photo_folder, tmp_path / "photos", 24)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_an_ingest_that_is_stopped_goes_on_where_it_was(photo_folder: Path, tmp_path: Path, name: str) -> None:
    """It is, while it stores the eightieth image."""
    arguments = [str(photo_folder), *stores(tmp_path / "index"), "--json", "--batch-size", "2"]
    moment = SignalPoint("upsert", 80, lines=100, signal=getattr(signal, name))
    command, environment = watched(arguments, tmp_path / "witness", moment)
    process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in process.stderr
    done = 0
    if name == "SIGKILL":
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        summary = json.loads(process.stdout)
        done = summary["stored"]
        assert summary["interrupted"]
        assert 0 < done < 317
    again = json.loads(run(photo_folder, *stores(tmp_path / "index"), "--json").stdout)
    assert again["resumed"] >= max(done, 20)
    assert again["resumed"] == again["unchanged"]
    assert (again["read"], again["stored"]) == (317, 317 - again["resumed"])
    assert len(stored(tmp_path / "index")) == 317


def test_two_index_folders_are_filled_in_one_pass(photos: Path, tmp_path: Path, model_file: Path) -> None:
    urls = [f"edge:{tmp_path}/a", f"faiss:{tmp_path}/b?index=Flat"]
    source = open_source(str(photos), SourceOptions())
    assert ingest(source, catalogs(*urls[:1]), model_file, Settings()).stored == 24
    summary = ingest(source, catalogs(*urls), model_file, Settings())
    assert (summary.stored, summary.unchanged) == (24, 0)
    first, second = (open_store(url, None, Settings()) for url in urls)
    assert first.info.generation == "000001", "what the first store had was not written again"
    assert sorted(first.sample(100, 0)) == sorted(second.sample(100, 0))
    assert len(first.sample(100, 0)) == 24
    first.close()
    second.close()


def test_a_source_that_breaks_off_keeps_what_came_before(photos: Path, tmp_path: Path, model_file: Path) -> None:
    source = open_source(str(photos), SourceOptions())
    items = list(source.items)

    def broken() -> Any:
        yield from items[:10]
        raise ValueError("bad shard")

    with pytest.raises(CbirError, match="broke off after 10 images: bad shard"):
        ingest(replace(source, items=broken()), catalogs(f"edge:{tmp_path}/index"), model_file, Settings())
    summary = ingest(source, catalogs(f"edge:{tmp_path}/index"), model_file, Settings())
    assert (summary.resumed, summary.stored) == (10, 14)


@pytest.fixture
def source_folder(photo_folder: Path, tmp_path: Path) -> Path:
    """A folder of 12 images that a test may change."""
    return some_images(photo_folder, tmp_path / "photos", 12)


def test_sync_embeds_what_changed_removes_what_is_gone_and_says_so(
    source_folder: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded = count_embedded(monkeypatch)
    first = sync(source_folder, model_file)
    assert (first.stored, first.changed, first.removed, sum(embedded)) == (12, 0, 0, 12)
    touched, changed, gone, *_ = files(source_folder)
    os.utime(touched, (1, 1))  # another time, the same bytes: read, not embedded
    Image.new("RGB", (30, 30), "blue").save(changed)
    gone.unlink()
    Image.new("RGB", (30, 30), "red").save(source_folder / "new.png")
    embedded.clear()
    second = sync(source_folder, model_file)
    assert (second.read, second.stored, second.changed, second.unchanged, second.removed) == (12, 2, 1, 10, 1)
    assert second.removed_keys == [gone.relative_to(source_folder).as_posix()]
    assert sum(embedded) == 2
    assert stored_keys(source_folder) == file_keys(source_folder)
    third = sync(source_folder, model_file)
    assert (third.stored, third.removed, third.unchanged) == (0, 0, 12)


def test_what_was_removed_can_come_back_and_only_sync_removes(source_folder: Path, model_file: Path) -> None:
    sync(source_folder, model_file)
    path = files(source_folder)[3]
    kept = path.read_bytes()
    path.unlink()
    added = sync(source_folder, model_file, Policy())
    assert (added.missing, added.removed, len(stored_keys(source_folder))) == (1, 0, 12)
    assert sync(source_folder, model_file).removed == 1
    assert stored_keys(source_folder) == file_keys(source_folder)
    path.write_bytes(kept)
    assert sync(source_folder, model_file).stored == 1
    assert stored_keys(source_folder) == file_keys(source_folder)


def test_a_dry_run_reports_what_a_run_would_do_and_changes_nothing(
    source_folder: Path, model_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dry = replace(SYNC, dry_run=True)
    with pytest.raises(
        UsageError, match="has no collection photos-efficientnet_lite0 yet: every image of .*photos is new"
    ):
        sync(source_folder, model_file, dry)
    assert not (source_folder.parent / "index").exists()
    sync(source_folder, model_file)
    changed, broken, *gone = files(source_folder)[:5]
    shutil.copyfile(files(source_folder)[6], changed)
    shutil.copyfile(files(source_folder)[6], source_folder / "new.png")
    broken.write_bytes(b"")
    for path in gone:
        path.unlink()
    folder, before = source_folder.parent / "index", stored_keys(source_folder)
    versions = {path: path.stat().st_mtime_ns for path in folder.glob("*/0*/**/*")}
    report = sync(source_folder, model_file, dry)
    assert report.dry_run
    assert "3 of 12 points" in caplog.text
    found = (report.read, report.stored, report.changed, report.unchanged, report.skipped, report.removed)
    assert found == (10, 2, 1, 7, 1, 3)
    assert report.removed_keys == [path.relative_to(source_folder).as_posix() for path in gone]
    assert stored_keys(source_folder) == before
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/0*/**/*")} == versions
    assert not list(folder.glob("*/building"))
    real = sync(source_folder, model_file, replace(SYNC, max_delete=1.0))
    assert (real.read, real.stored, real.changed, real.unchanged, real.skipped, real.removed) == found
