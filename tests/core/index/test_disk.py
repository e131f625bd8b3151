"""A full disk and a signal: what was stored is kept, and the same command finishes."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from cbir.errors import DiskFullError
from cbir.index import disk
from cbir.index.generation import IndexRecord
from cbir.pipeline.run import ingest
from cbir.settings import Settings
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source
from cbir.stores.registry import open_store
from tests.support.building import catalogs
from tests.support.ingesting import COMMAND
from tests.support.killing import watched
from tests.support.signal_point import SignalPoint

SMALL_DISK = """
set -u
mount -t tmpfs -o size=$1 none "$2" || exit 99
shift_to="$2"; shift 2
"$@"; echo "first: $?"
mount -o remount,size=400m "$shift_to"
"$@"; echo "second: $?"
cp -r "$shift_to/index" "$KEPT"
"""


def namespaces() -> bool:
    command = ["unshare", "-rm", "true"]
    return shutil.which("unshare") is not None and subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not namespaces(), reason="needs a user namespace to mount a small disk in")
@pytest.mark.parametrize("size", ["7m", "9m", "12m"])
def test_a_disk_that_fills_is_one_line_and_code_3_and_nothing_flushed_is_lost(
    photo_folder: Path, tmp_path: Path, size: str
) -> None:
    """It fills while the model is copied, while images are embedded, or while an index is built."""
    (tmp_path / "disk").mkdir()
    store = ["--store", f"edge:{tmp_path}/disk/index", "--json"]
    command = [*COMMAND, str(photo_folder), *store]
    shell = ["unshare", "-rm", "bash", "-c", SMALL_DISK, "bash", size, tmp_path / "disk", *command]
    done = subprocess.run(
        list(map(str, shell)), capture_output=True, text=True, env={**os.environ, "KEPT": str(tmp_path / "kept")}
    )
    assert "Traceback" not in done.stderr
    assert "first: 3" in done.stdout, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "the disk is full" in line
    assert "second: 0" in done.stdout, done.stderr
    summary = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    assert summary["resumed"] + summary["stored"] == 317
    if size != "7m":
        assert summary["resumed"] > 0, "what was flushed before is gone"
    opened = open_store(f"edge:{tmp_path}/kept", None, Settings())
    assert opened.info.count == 317
    opened.close()


def test_what_cannot_fit_is_refused_beforehand(
    photo_folder: Path, tmp_path: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(str(photo_folder), SourceOptions())
    free = type("Usage", (), {"free": 2_000_000})
    with monkeypatch.context() as patch:
        patch.setattr(disk.shutil, "disk_usage", lambda folder: free)
        with pytest.raises(DiskFullError, match="317 points need about .* GB, and 0.00 GB are free") as caught:
            ingest(source, catalogs(f"edge:{tmp_path}/index"), model_file, Settings())
    assert caught.value.exit_code == 3
    assert not list(tmp_path.rglob("*.log"))


def test_the_forecast_counts_log_and_indexes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engines = {
        "edge": IndexRecord("edge"),
        "half": IndexRecord("edge", {"datatype": "float16"}),
        "codes": IndexRecord("faiss", {"index": "HNSW16_SQfp16"}),
        "coded": IndexRecord("faiss", {"index": "IVF64,PQ32"}),
    }
    needed = 1000 * (4 * 1280 + disk.PAYLOAD_BYTES) + 3000 * (4 * 300 + 5120 + 2 * 2560 + 320)
    for free, fits in ((needed, True), (needed - 1, False)):
        monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder, free=free: type("Usage", (), {"free": free}))
        if fits:
            disk.require_free_space(tmp_path, 1000, 3000, 1280, engines)
        else:
            with pytest.raises(DiskFullError):
                disk.require_free_space(tmp_path, 1000, 3000, 1280, engines)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_ends_a_run_within_five_seconds_whatever_it_does(
    photo_folder: Path, tmp_path: Path, name: str
) -> None:
    """With a batch that takes the model many times as long; it runs when the signal comes."""
    arguments = [str(photo_folder), "--store", f"edge:{tmp_path}/index", "--batch-size", "1024", "--json"]
    witness, moment = tmp_path / "witness", SignalPoint("embed", 1, signal=getattr(signal, name))
    command, environment = watched(arguments, witness, moment)
    process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    seconds = time.time() - (witness / "passed").stat().st_mtime
    assert process.returncode == 130, process.stderr
    assert seconds < 5
    assert "Traceback" not in process.stderr
    assert json.loads(process.stdout)["interrupted"]
