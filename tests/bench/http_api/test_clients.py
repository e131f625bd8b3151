"""The clients of a measurement: what they count is what a server answered."""

import json
from pathlib import Path

import pytest
from cbir.bench.http_api.clients import head, send

from cbir.errors import CbirError
from tests.support.browser import free_port
from tests.support.http_api import get, serving


def test_only_good_answers_are_timed(index: Path) -> None:
    with serving(f"faiss:{index}/faiss") as address:
        port, collections = int(address.rpartition(":")[2]), "/v1/collections"
        (found,) = json.loads(get(f"{address}{collections}"))["collections"]
        path = f"{collections}/{found['collection']}/points/read"
        good = send(port, path, "application/json", [b'{"ids": []}'], 2, 0.3)
        assert (good.failed, len(good.milliseconds) > 0) == (0, True)
        bad = send(port, path, "application/json", [b"{}", b'{"ids": []}'], 1, 0.3)
        assert abs(bad.failed - len(bad.milliseconds)) <= 1


def test_a_server_that_is_not_there_is_one_line() -> None:
    with pytest.raises(CbirError, match="the clients failed: ConnectionRefusedError"):
        send(free_port(), "/", "text/plain", [b""], 1, 0.1)


def test_the_head_says_how_long_the_body_is() -> None:
    assert head("/a", "text/plain", 3).endswith(b"content-type: text/plain\r\ncontent-length: 3\r\n\r\n")
