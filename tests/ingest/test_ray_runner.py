"""The Ray runner: on two workers, one of which is killed, the same points as one process makes."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest
from cbir.ingest.ray_runner import Job, ingest_on_ray, ingest_share

from cbir.errors import CbirError, UsageError
from cbir.pipeline.journal import read_failures
from cbir.pipeline.run import DEFAULT_POLICY, Policy, ingest
from cbir.records import Point
from cbir.settings import Settings
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source
from cbir.stores.registry import connect, open_store
from tests.support.building import catalogs
from tests.support.examples import SampleImages
from tests.support.qdrant_server import Running, qdrant_server

UPSERT = "PUT .*/points$"
PICTURES = 100
SERVER = "http://127.0.0.1:9"
NAME = "photos-efficientnet_lite0"
RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="needs Ray: pip install 'cbir[ray]'")


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with qdrant_server() as one:
        yield one


@pytest.fixture(scope="module")
def photos(sample_images: SampleImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, and a file that is none."""
    root = tmp_path_factory.mktemp("ray") / "photos"
    for number, (key, _, data) in enumerate(sample_images[:PICTURES]):
        folder = root / str(number % 3)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{key}.png").write_bytes(data)
    (root / "0" / "broken.jpg").write_bytes(b"no picture")
    return root


@pytest.fixture(scope="module")
def expected(photos: Path, server: Running, model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Point]:
    """What one process makes of them."""
    settings = Settings(cache=tmp_path_factory.mktemp("cache"))
    ingest(open_source(str(photos), SourceOptions()), catalogs(server.url), model_file, settings, "plain")
    return held(server, "plain")


def held(server: Running, collection: str) -> list[Point]:
    store = open_store(server.url, collection, Settings())
    return sorted(store.points(), key=lambda point: point.id)


def same(found: list[Point], expected: list[Point]) -> bool:
    return len(found) == len(expected) and all(
        replace(one, vector=other.vector) == other and float(one.vector @ other.vector) >= 0.99999
        for one, other in zip(found, expected, strict=True)
    )


@contextmanager
def started(*command: str | Path, cache: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a command; in the end it and all that it started are killed."""
    environment = {**os.environ, **RAY, "CBIR_CACHE": str(cache), "PYTHONUNBUFFERED": "1"}
    with (cache / "out").open("w+") as out, (cache / "err").open("w+") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, text=True, env=environment)
        try:
            yield process
        finally:
            kill_all(process)


def kill_all(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
            with suppress(psutil.NoSuchProcess):
                one.kill()
    process.wait()


def sharing(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Those of its descendants that ingest a share."""
    found = []
    for one in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "_run_share" in " ".join(one.cmdline()):
                found.append(one)
    return found


def on_ray(photos: Path, server: Running, *options: str) -> list[str]:
    base = [sys.executable, "-m", "cbir.ingest.command", "add", str(photos), "--store", server.url, "--json"]
    return [*base, "--runner", "ray", *options]


def wait_for(what: str, happened: Any, seconds: float = 300.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := happened():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited for {what}")


def wait_until_written(server: Running, count: int, process: subprocess.Popen[str], cache: Path) -> None:
    before = server.stats().written

    def written() -> bool:
        assert process.poll() is None, (cache / "err").read_text()
        return server.stats().written >= before + count

    wait_for("points", written)


def summary_of(process: subprocess.Popen[str], cache: Path) -> dict[str, Any]:
    process.wait(timeout=300)
    assert process.returncode == 0, (cache / "err").read_text()
    return json.loads((cache / "out").read_text().splitlines()[-1])  # type: ignore[no-any-return]


@needs_ray
@pytest.mark.ray
def test_a_killed_worker_changes_nothing(photos: Path, server: Running, expected: list[Point], tmp_path: Path) -> None:
    server.inject(UPSERT, times=-1, seconds=0.2)
    with started(*on_ray(photos, server, "--workers", "2"), cache=tmp_path) as process:
        wait_until_written(server, 10, process, tmp_path)
        worker, _ = wait_for("two workers", lambda: sharing(process) if len(sharing(process)) == 2 else None)
        assert NAME not in connect(server.url, Settings()).names(), "published before it was complete"
        worker.kill()
        server.configure()
        summary = summary_of(process, tmp_path)
    assert same(held(server, NAME), expected)
    assert connect(server.url, Settings()).resolve("photos") == NAME
    assert (summary["read"], summary["skipped"], summary["workers"]) == (PICTURES + 1, 1, 2)
    assert summary["stored"] + summary["unchanged"] == PICTURES
    (failure,) = read_failures(connect(server.url, Settings(cache=tmp_path)).journal(NAME))
    assert (failure.key, failure.version == "") == ("0/broken.jpg", False)


@needs_ray
@pytest.mark.ray
def test_a_lost_node_changes_nothing_and_a_second_run_finds_all_done(
    photos: Path, server: Running, expected: list[Point], tmp_path: Path
) -> None:
    with ExitStack() as stack:

        def running(name: str, *command: str) -> subprocess.Popen[str]:
            (tmp_path / name).mkdir()
            return stack.enter_context(started(*command, cache=tmp_path / name))

        port = free_port()
        ray = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--node-ip-address=127.0.0.1"]
        ray += [f"--object-store-memory={80 * 10**6}"]
        running("head", *ray, "--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false")
        wait_for("the head", lambda: answers(port))
        nodes = []
        for name in ("node", "other"):  # one after the other: started at once they may take each other's ports
            nodes.append(running(name, *ray, f"--address=127.0.0.1:{port}", "--num-cpus=1"))
            wait_for(name, lambda name=name: "Ray runtime started" in (tmp_path / name / "out").read_text())

        command = on_ray(photos, server, "--ray-address", f"127.0.0.1:{port}", "--collection", "lost")
        server.inject(UPSERT, times=-1, seconds=0.2)
        first = running("first", *command)
        wait_until_written(server, 10, first, tmp_path / "first")
        wait_for("a share on the node", lambda: sharing(nodes[0]))
        assert connect(server.url, Settings()).resolve("photos") != "lost"
        kill_all(nodes[0])
        server.configure()
        summary = summary_of(first, tmp_path / "first")
        assert (summary["read"], summary["skipped"], summary["workers"]) == (PICTURES + 1, 1, 2)
        assert same(held(server, "lost"), expected)
        assert connect(server.url, Settings()).resolve("photos") == "lost"

        written = server.stats().written
        (tmp_path / "first").rename(tmp_path / "second")  # the journal of failures is there
        with started(*command, cache=tmp_path / "second") as second:
            summary = summary_of(second, tmp_path / "second")
        assert (summary["stored"], summary["unchanged"], summary["remembered"]) == (0, PICTURES, 1)
        assert server.stats().written == written


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_what_ray_cannot_do_is_refused_in_one_line(photos: Path, model_file: Path) -> None:
    def refused(
        match: str, store: str = SERVER, source: str = str(photos), policy: Policy = DEFAULT_POLICY, **given: Any
    ):
        with pytest.raises(UsageError, match=match) as told:
            ingest_on_ray(source, SourceOptions(**given), catalogs(store), model_file, Settings(), policy=policy)
        assert "\n" not in str(told.value)

    refused("fills Qdrant servers only, not edge:./index", store="edge:./index")
    refused("standard input", source="-")
    refused("--shard", shard=(1, 2))
    refused("sync", policy=Policy(remove_missing=True))
    refused("copies", policy=Policy(skip_duplicates=True))
    refused("copies", policy=Policy(near_duplicates=3))
    if find_spec("ray") is None:
        refused(r"pip install 'cbir\[ray\]'")


@needs_ray
@pytest.mark.ray
@pytest.mark.parametrize(
    ("address", "told"),
    [("127.0.0.1:1", "at 127.0.0.1:1 cannot be reached: Connection refused"), ("head", "Invalid --ray-address")],
)
def test_a_cluster_that_is_not_there_is_one_line_and_nothing_is_made(
    address: str, told: str, photos: Path, server: Running, model_file: Path
) -> None:
    with pytest.raises(CbirError, match=told):
        ingest_on_ray(
            str(photos), SourceOptions(), catalogs(server.url), model_file, Settings(), "unmade", address=address
        )
    assert "unmade" not in [one.collection for one in connect(server.url, Settings()).listing()]


def test_a_share_is_an_ordinary_ingest(
    photos: Path, server: Running, expected: list[Point], model_file: Path, tmp_path: Path
) -> None:
    """What a worker does, without Ray around it: three shares make the whole, and a second time nothing is left."""
    job = Job(str(photos), SourceOptions(), [server.url], "shares", None, Policy(partial=True), Settings(), {})
    shares = [ingest_share(job, (number, 3), model_file.read_bytes()) for number in (1, 2, 3)]
    read = [share.report.read for share in shares if share.report]
    assert sum(read) == PICTURES + 1
    assert all(read)
    assert "shares" not in connect(server.url, Settings()).names()
    assert same(held(server, "shares"), expected)
    (failure,) = (one for share in shares for one in share.failures)
    assert failure.key == "0/broken.jpg"
    again = replace(job, failed={failure.id: failure})
    shares = [ingest_share(again, (number, 3), model_file.read_bytes()) for number in (1, 2, 3)]
    assert [share.report.stored for share in shares if share.report] == [0, 0, 0]
    assert sum(share.report.remembered for share in shares if share.report) == 1
    assert [one.key for share in shares for one in share.failures] == ["0/broken.jpg"]
