"""`cbir-ingest sync --watch` follows what happens in a folder."""

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.support.ingesting import COMMAND, file_keys, files, some_images, stored_keys


@pytest.fixture
def photos(photo_folder: Path, tmp_path: Path) -> Path:
    """A folder of 12 images that a test may change."""
    return some_images(photo_folder, tmp_path / "photos", 12)


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
        assert stored_keys(photos) == file_keys(photos)
        start = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
        assert time.monotonic() - start < 5
        assert process.returncode == 130
        assert "Traceback" not in errors
    finally:
        process.kill()
        process.wait()
