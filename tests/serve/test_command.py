"""`cbir-serve` as a program."""

import re
import signal
from pathlib import Path
from urllib.error import URLError

import pytest
from cbir.serve import command
from cbir.serve.command import main
from cbir.serve.keys import hashed

from tests.serve.conftest import NAME
from tests.support.http_api import get, post, running
from tests.support.running import Program, runner


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    return runner(monkeypatch, capsys, main, "cbir-serve")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--store", "edge:a,edge:b"], "only one store is allowed"),
        (["--store", "ftp:a"], "unknown store 'ftp:a'"),
        (["--public-name", "https://a.org"], "not a host name"),
        (["--cors-origin", "*"], "the setting cors_origins: .*list of origins"),
        (["--rate-limit", "0"], "rate-limit"),
        (["nothing"], "'nothing' is neither a command nor"),
    ],
)
def test_a_wrong_call_is_one_clear_line(arguments: list[str], message: str, serve: Program) -> None:
    code, out, err = serve(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert re.search(message, err)


def test_without_its_libraries_it_says_how_to_install_them(serve: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "fastapi" else name)
    code, out, err = serve()
    assert (code, out) == (2, "")
    assert err == "error: cbir-serve needs fastapi. Install it with: pip install 'cbir[serve]'\n"


def test_a_key_is_printed_with_its_hash(serve: Program) -> None:
    code, out, _ = serve("key")
    key, digest = re.findall(r": +(\S+)", out)
    assert code == 0 and digest == hashed(key)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_it_serves_until_it_is_stopped(workers: int, index: Path) -> None:
    arguments, key = ["--store", f"faiss:{index}/faiss", "--workers", str(workers)], "the key of a test"
    with running(arguments, CBIR_READ_KEYS=hashed(key)) as server:
        search = f"{server.url}/v1/collections/{NAME}/search"
        for _ in range(4):
            status, answer = post(search, {"text": "a cat", "limit": 2}, **{"api-key": key})
            assert (status, len(answer["hits"])) == (200, 2)
        with pytest.raises(URLError, match="401"):
            post(search, {"text": "a cat"})
        text = get(f"{server.url}/metrics", **{"api-key": key})
        assert re.search(r'cbir_requests_total\{.*search",status="200"\} 4\.0', text), "all workers count together"
        server.process.send_signal(signal.SIGTERM)
        out, _ = server.process.communicate(timeout=60)
        log = server.written()
    assert server.process.returncode in (0, -signal.SIGTERM)
    assert out.startswith(f"cbir answers at {server.url}")
    assert key not in log and "Traceback" not in log
    assert log.count(f"POST /v1/collections/{NAME}/search 200 ") == 4


@pytest.mark.slow
def test_the_log_has_the_level_of_the_environment(index: Path) -> None:
    with running(["--store", f"faiss:{index}/faiss", "--workers", "2"], LOG_LEVEL="ERROR") as server:
        get(f"{server.url}/v1/collections")
        server.process.send_signal(signal.SIGTERM)
        server.process.communicate(timeout=60)
        assert "/v1/collections" not in server.written()
