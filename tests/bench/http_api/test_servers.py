"""Servers that a measurement starts."""

import urllib.request

import pytest
from cbir.bench.http_api.servers import free_port, started

from cbir.errors import CbirError


def test_a_server_that_ends_early_says_why() -> None:
    with (
        pytest.raises(CbirError, match="the server did not start: .*No module named cbir.nothing"),
        started("cbir.nothing", [], 1),
    ):
        pass


def test_a_server_is_stopped_in_the_end(tmp_path: object) -> None:
    port = free_port()
    with started("cbir.serve.command", ["run", "--store", f"edge:{tmp_path}", "--port", str(port)], port) as server:
        assert server.ready_seconds > 0
        assert urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz").status == 200
    with pytest.raises(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz")
