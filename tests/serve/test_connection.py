"""Connections whose client is too slow with the head of a request."""

import socket
import time
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import pytest
from cbir.serve import connection

from tests.support.http_api import serving

REQUEST = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HT", REQUEST[:-2]])
def test_a_head_that_does_not_end_is_408(sent: bytes, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.2)
    with serving(f"faiss:{index}/faiss") as address:
        port = int(address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall(sent)
            answer = b""
            while part := client.recv(4096):
                answer += part
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout")


def test_a_connection_is_kept_between_requests(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only uvicorn's own limit counts there."""
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.5)
    with serving(f"faiss:{index}/faiss") as address:
        port = int(address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            for _ in range(2):
                client.sendall(REQUEST)
                answer = client.recv(4096)
                while not answer.endswith(b"}"):
                    answer += client.recv(4096)
                assert answer.startswith(b"HTTP/1.1 200 OK")
                client.settimeout(1)
                with pytest.raises(TimeoutError):
                    client.recv(4096)
                client.settimeout(30)
            client.sendall(REQUEST[:10])
            assert client.recv(4096).startswith(b"HTTP/1.1 408 Request Timeout")


def test_a_client_that_takes_no_answer_loses_the_connection(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "STALL_SECONDS", 0.5)
    path = b"/v1/collections/photos/points?limit=300&with_vector=true"
    request = b"GET " + path + b" HTTP/1.1\r\nhost: localhost\r\n\r\n"
    with serving(f"faiss:{index}/faiss") as address:
        whole = len(urlopen(f"{address}{path.decode()}").read())  # noqa: S310
        assert whole > 3_000_000
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(30)
            client.connect(("127.0.0.1", int(address.rpartition(":")[2])))
            client.sendall(request)
            time.sleep(5)
            taken = 0
            with suppress(ConnectionResetError):
                while part := client.recv(65536):
                    taken += len(part)
            assert taken < whole, "the answer waited for somebody who did not take it"


def test_a_client_that_is_slow_gets_the_whole_answer(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "STALL_SECONDS", 2)
    with serving(f"faiss:{index}/faiss") as address:
        with urlopen(f"{address}/v1/collections/photos/points?limit=300&with_vector=true") as answer:  # noqa: S310
            taken = 0
            while part := answer.read(400_000):
                taken += len(part)
                time.sleep(0.5)
        assert taken == int(answer.headers["content-length"])
