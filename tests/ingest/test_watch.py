"""`cbir-ingest sync --watch` follows what happens in a folder."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from cbir.ingest.watch import Changed, keep_in_step
from PIL import Image

from cbir.errors import CbirError, UsageError
from cbir.pipeline.report import IngestReport
from tests.support.ingesting import COMMAND, file_keys, files, some_images, stored_keys

pytestmark = pytest.mark.slow

_LIMITED = ["unshare", "-U", "-r", "sh", "-c", 'echo 2 > /proc/sys/user/max_inotify_watches && exec "$0" "$@"']
"""Starts a command in a user namespace of its own, where it may watch two folders."""


@pytest.fixture
def photos(photo_folder: Path, tmp_path: Path) -> Path:
    """A folder of 12 images that a test may change."""
    return some_images(photo_folder, tmp_path / "photos", 12)


class Watch:
    """A running command; what it printed and logged so far."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path):
        self.process = process
        self.reports: list[dict[str, Any]] = []
        self._log = log

    def until(self, **counts: int) -> list[dict[str, Any]]:
        """Read reports until these fields have such sums, from now on; return them."""
        start = len(self.reports)
        while any(sum(report[name] for report in self.reports[start:]) < count for name, count in counts.items()):
            assert self.process.stdout is not None
            line = self.process.stdout.readline()
            assert line, f"it ended: {self.log()}"
            self.reports.append(json.loads(line))
        return self.reports[start:]

    def until_logged(self, text: str) -> None:
        """Wait until a text was logged."""
        deadline = time.monotonic() + 60
        while text not in self.log():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def log(self) -> str:
        return self._log.read_text()


@contextmanager
def watching(
    photos: Path, *options: str, before: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Iterator[Watch]:
    """Watch a folder, whose 12 images are stored first."""
    log = photos.parent / "log"
    command = [*before, *COMMAND, "sync", str(photos), "--store", f"faiss:{photos.parent}/index", "--watch", "--json"]
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*command, *options],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **(environment or {})},
        )
    try:
        watch = Watch(process, log)
        assert watch.until(stored=12)[0]["read"] == 12
        yield watch
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 130
        assert "Traceback" not in watch.log()
    finally:
        process.kill()
        process.communicate()


def _draw(path: Path, color: str = "green") -> None:
    """Write an image as careful programs do: under a hidden name first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}")
    Image.new("RGB", (40, 40), color).save(hidden)
    hidden.rename(path)


def test_a_misuse_ends_it_before_the_first_sync_and_is_tried_again_after_it(tmp_path: Path) -> None:
    def follow(*steps: CbirError | IngestReport) -> int:
        """Return how often `sync` was called, when it does one of the steps each time and then says to stop."""
        ahead = iter(steps)
        calls = 0

        def sync(changed: Changed) -> IngestReport:
            nonlocal calls
            calls += 1
            (tmp_path / "new.png").write_text(str(calls))
            step = next(ahead, IngestReport("photos", [], interrupted=True))
            if isinstance(step, CbirError):
                raise step
            return step

        with suppress(UsageError):
            keep_in_step(str(tmp_path), sync)
        return calls

    assert follow(UsageError("wrong"), UsageError("wrong")) == 1
    assert follow(CbirError("away"), IngestReport("photos", []), UsageError("too many")) == 4


def test_watch_follows_what_happens_in_the_folder(photos: Path) -> None:
    with watching(photos) as watch:
        files(photos)[0].unlink()
        _draw(photos / "green.png")
        reports = watch.until(stored=1, removed=1)
        assert sum(report["read"] for report in reports) == 1, "it went through the whole folder"
        assert stored_keys(photos) == file_keys(photos)
        assert "notifications" in watch.log()
        _draw(photos / "green.png", "red")
        assert sum(report["changed"] for report in watch.until(stored=1)) == 1


def test_a_folder_that_appears_or_vanishes_or_is_renamed_means_its_images(photos: Path) -> None:
    with watching(photos, "--max-delete", "90%") as watch:
        made = photos.parent / "made"
        for number, color in enumerate(("red", "green", "blue")):
            _draw(made / "deep" / f"{number}.png", color)
        made.rename(photos / "new")
        watch.until(stored=3)
        (photos / "new").rename(photos / "old")
        reports = watch.until(stored=3)
        assert sum(report["renamed"] for report in reports) == 3
        assert sum(report["reused"] for report in reports) == 3
        assert stored_keys(photos) == file_keys(photos)
        shutil.rmtree(photos / "old")
        watch.until(removed=3)
        assert stored_keys(photos) == file_keys(photos)
        assert sum(report["read"] for report in watch.reports[1:]) == 6


def test_what_the_folder_source_leaves_out_is_left_out(photos: Path) -> None:
    """Hidden files, other files, and folders that are links."""
    with watching(photos) as watch:
        outside = photos.parent / "outside"
        _draw(outside / "a.png")
        (photos / "link").symlink_to(outside)
        _draw(photos / ".hidden" / "b.png")
        (photos / "c.txt").write_text("no image")
        (photos / "d.png").symlink_to(outside / "a.png")
        watch.until(stored=1)
        _draw(photos / "link" / "e.png", "red")
        _draw(photos / "f.png", "blue")
        watch.until(stored=1)
        assert stored_keys(photos) - {"d.png", "f.png"} == {
            path.relative_to(photos).as_posix() for path in photos.glob("*/*.png") if path.parent.name[0] not in "l."
        }


def test_a_folder_that_loses_most_of_its_images_loses_none_in_the_index(photos: Path) -> None:
    with watching(photos) as watch:
        before = stored_keys(photos)
        for path in files(photos)[:8]:
            path.unlink()
        watch.until_logged("--max-delete")
        assert stored_keys(photos) == before


def test_a_folder_that_is_removed_and_comes_back_keeps_its_images(photos: Path) -> None:
    with watching(photos) as watch:
        before = stored_keys(photos)
        photos.rename(photos.parent / "away")
        watch.until_logged("again")
        assert stored_keys(photos) == before
        (photos.parent / "away").rename(photos)
        _draw(photos / "green.png")
        watch.until(stored=1)
        assert stored_keys(photos) == before | {"green.png"}


def test_a_name_that_cannot_be_decoded_starts_a_whole_sync(photos: Path) -> None:
    with watching(photos) as watch:
        Path(os.fsdecode(os.fsencode(photos) + b"/\xff.png")).write_bytes(files(photos)[0].read_bytes())
        assert watch.until(stored=1)[-1]["read"] == 13


@pytest.mark.parametrize("before", [(), _LIMITED], ids=["requested", "at the limit of watches"])
def test_it_polls_where_the_system_does_not_notify(photos: Path, before: Sequence[str]) -> None:
    if before and subprocess.run([*before, "true"], capture_output=True).returncode:
        pytest.skip("user namespaces are not allowed here")
    environment = {} if before else {"WATCHFILES_FORCE_POLLING": "1"}
    with watching(photos, before=before, environment=environment) as watch:
        _draw(photos / "new" / "green.png")
        files(photos)[0].unlink()
        reports = watch.until(stored=1, removed=1)
        assert sum(report["read"] for report in reports) == 1
        assert stored_keys(photos) == file_keys(photos)
        assert "by polling" in watch.log()
