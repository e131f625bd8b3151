"""Hostile requests to a real server: each is refused, nothing leaks, and the server goes on."""

import io
import json
import re
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from cbir.serve.keys import hashed

from tests.serve.conftest import NAME, WRITE
from tests.support.http_api import RunningServer, post, raw, running

SEARCH = f"/v1/collections/{NAME}/search"
LEAKS = (b"Traceback", b"site-packages", b"/root", b"/home", b"/tmp", b"root:", b"cbir.serve")


@pytest.fixture(scope="module")
def server(index: Path) -> Iterator[RunningServer]:
    arguments = ["--store", f"faiss:{index}/faiss", "--max-body-megabytes", "2", "--max-requests", "50"]
    with running(arguments, CBIR_WRITE_KEYS=hashed(WRITE), CBIR_BODY_SECONDS="2") as started:
        yield started


def request(
    path: str, body: bytes = b"", media_type: str = "application/json", method: str = "POST", more: str = ""
) -> bytes:
    """Return the bytes of a request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\n{more}"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode("latin-1") + body


def form(data: bytes, name: str = "image", file_name: str = "a.png") -> bytes:
    """Return a request with a form that has one file."""
    body = f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="{file_name}"\r\n\r\n'.encode() + data
    return request(SEARCH, body + b"\r\n--b--\r\n", "multipart/form-data; boundary=b")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes, more: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")


def gzipped(size: int) -> bytes:
    import gzip

    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb") as file:
        file.write(b" " * size)
    return buffer.getvalue()


SUITES: dict[str, list[bytes]] = {
    "oversized": [
        request(SEARCH, b" " * (3 * 2**20)),
        form(b"x" * (3 * 2**20)),
        request(SEARCH, more="Transfer-Encoding: chunked\r\n").replace(b"Content-Length: 0\r\n", b"")
        + b"100000\r\n"
        + b" " * 0x100000
        + b"\r\n"
        + b"100000\r\n"
        + b" " * 0x100000
        + b"\r\n"
        + b"10\r\n"
        + b" " * 16
        + b"\r\n0\r\n\r\n",
        request(SEARCH, b"{}").replace(b"Content-Length: 2", b"Content-Length: 99999999999999999999"),
        request(f"/v1/collections/{'a' * 60_000}", method="GET"),
        request(SEARCH, b"{}", more=f"X-A: {'a' * 200_000}\r\n"),
    ],
    "truncated": [
        request(SEARCH, b'{"text": "a cat"}')[:-5],
        form(b"\x89PNG\r\n\x1a\n")[:-20],
        b"POST " + SEARCH.encode() + b" HT",
        b"",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    "wrong types": [
        request(SEARCH, json.dumps(body).encode())
        for body in (
            {"text": 5},
            {"text": {"a": 1}},
            {"vector": "x"},
            {"vector": [None]},
            {"vector": [[1]]},
            {"ids": "a"},
            {"ids": [5]},
            {"text": "a", "limit": "many"},
            {"text": "a", "limit": 1e30},
            {"text": "a", "limit": 10**30},
            {"text": "a", "filter": []},
            {"text": "a", "filter": "label=" + "(" * 4000},
            {"like": [{"id": "a", "weight": -1}]},
            {"like": [{}]},
            {"image": 5},
            {"text": "\x00"},
            {"ids": ["\x00"]},
            {"text": "a", "group_by": "\x00"},
            [],
            5,
            None,
            "a",
            True,
        )
    ]
    + [request(SEARCH, body) for body in (b"\xff\xfe", b"NaN", b'{"text": "\\ud800"}', b'{"vector": [NaN]}', b"{}x")],
    "path tricks": [
        request(path, method="GET")
        for path in (
            "/v1/collections/..%2F..%2Fetc%2Fpasswd",
            "/v1/collections/../../../etc/passwd",
            "/v1/collections/%2e%2e/count",
            f"/v1/collections/{NAME}/points/..%2F..%2F..%2Fetc%2Fpasswd/image",
            "//etc/passwd",
            "/v1/collections/a%00b/count",
            f"/v1/collections/{NAME}/points/%00/image",
            f"/v1/collections/{NAME}/facets/..%2F..",
            "/docs/../../etc/passwd",
            "/v1/collections/%ff%fe/count",
            f"/v1/collections/{NAME}/points/{'a/' * 2000}",
            "/v1/collections/CON",
            "*",
            "/%",
        )
    ],
    "requests to private places": [
        request(SEARCH, json.dumps({"url": url}).encode())
        for url in (
            "http://127.0.0.1:1/",
            "http://localhost/",
            "http://[::1]/",
            "http://169.254.169.254/latest/meta-data/",
            "http://10.0.0.1/",
            "http://0x7f000001/",
            "http://2130706433/",
            "http://127.1/",
            "http://[::ffff:127.0.0.1]/",
            "file:///etc/passwd",
            "ftp://localhost/",
            "gopher://localhost:6379/_INFO",
            "http://user:secret@127.0.0.1/",
            "http://127.0.0.1:99999/",
            "data:,a",
        )
    ],
    "header injection": [
        request(
            "/v1/collections",
            method="GET",
            more="X-Request-Id: a\r\nX-Evil: 1\r\n".replace("\r\nX-Evil: 1", "%0d%0aX-Evil: 1"),
        ),
        request("/v1/collections/a%0d%0aX-Evil:%201/count", method="GET"),
        request("/v1/collections", method="GET", more="X-Request-Id: \x1b[31mred\r\n"),
        request("/v1/collections", method="GET", more="X Evil: 1\r\n"),
        request("/v1/collections", method="GET", more="Authorization: Bearer a\x00b\r\n"),
        request("/v1/collections", method="GET", more="api-key: \xff\xfe\r\n"),
        form(b"x", name="image\r\nX-Evil: 1", file_name="../../a.png"),
        request("/v1/collections", method="GET").replace(b"Host: localhost", b"Host: evil.example"),
    ],
    "zip bombs": [
        request(SEARCH, gzipped(200 * 2**20), more="Content-Encoding: gzip\r\n"),
        form(png(1, 1, b"", chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(b" " * 200 * 2**20, 9)))),
        form(png(1, 1, b"", chunk(b"zTXt", b"a\0\0" + zlib.compress(b" " * 200 * 2**20, 9)))),
    ],
    "pixel bombs": [
        form(png(100_000, 100_000, b"")),
        form(png(2**31 - 1, 2**31 - 1, b"")),
        form(png(8000, 8000, bytes(8000 * 100))),
        form(b"GIF89a" + struct.pack("<HH", 65535, 65535) + bytes(20)),
        form(b"BM" + bytes(12) + struct.pack("<IiiHH", 40, 2**30, 2**30, 1, 24) + bytes(24)),
    ],
    "deep JSON": [
        request(SEARCH, b"[" * 500_000),
        request(SEARCH, b'{"like":' + b"[" * 900 + b"]" * 900 + b"}"),
        request(SEARCH, b'{"a":' * 100_000),
        request(
            f"/v1/collections/{NAME}/points",
            b'{"changes": {"a": ' + b"[" * 900 + b"]" * 900 + b'}, "ids": ["a"]}',
            method="PATCH",
            more=f"api-key: {WRITE}\r\n",
        ),
    ],
    "no key": [
        request(f"/v1/collections/{NAME}/points", b'{"ids": ["a"]}', method=method, more=more)
        for method in ("POST", "PATCH", "DELETE")
        for more in (
            "",
            "api-key: \r\n",
            "api-key: sha256:" + "0" * 64 + "\r\n",
            f"api-key: {hashed(WRITE)}\r\n",
            "Authorization: Bearer\r\n",
        )
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SUITES)
def test_a_hostile_request_is_refused_and_the_server_goes_on(name: str, server: RunningServer) -> None:
    for data in SUITES[name]:
        answer = raw(server.port, data)
        status = int(found[1]) if (found := re.match(rb"HTTP/1.1 (\d+)", answer)) else None
        allowed = (200,) if name == "header injection" else ()
        assert status in (None, *allowed) or 400 <= status < 500, (data[:300], answer[:500])
        assert b"X-Evil" not in answer.partition(b"\r\n\r\n")[0]
        assert not any(leak in answer for leak in LEAKS), answer[:1000]
    status, body = post(f"{server.url}{SEARCH}", {"text": "a cat", "limit": 1})
    assert (status, len(body["hits"])) == (200, 1)
    log = server.written()
    assert "Traceback" not in log and "secret" not in log and WRITE not in log
    assert server.process.poll() is None


@pytest.mark.slow
def test_slow_clients_are_dropped(server: RunningServer) -> None:
    import socket

    head = request(SEARCH, b"x" * 1000)[:-1000]
    slow = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(40)]
    for connection in slow:
        connection.sendall(head)
    start = time.monotonic()
    assert post(f"{server.url}{SEARCH}", {"text": "a cat", "limit": 1})[0] == 200, "others are answered meanwhile"
    for connection in slow:
        assert connection.recv(100).startswith(b"HTTP/1.1 408"), "the body did not come in time"
        connection.close()
    assert time.monotonic() - start < 30
