"""Fetching from real servers on this machine: within the limits the very bytes, beyond them one reason, and in time."""

import os
import pickle
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from cbir.errors import ImageError
from cbir.sources.remote import Limits, fetch, is_public
from tests.support.web_server import Site, answer, drip, serve

HERE = Limits(private=True, seconds=10)


@pytest.fixture
def site() -> Iterator[Site]:
    with serve() as site:
        yield site


def test_a_body_comes_whole_and_connections_are_used_again(site: Site) -> None:
    body = os.urandom(300_000)
    site.pages["/a.jpg?size=1"] = partial(answer, body=body)
    for _ in range(3):
        assert fetch(f"{site.url}/a.jpg?size=1#top", HERE) == body
    assert {path for path, _, _ in site.asked} == {"/a.jpg?size=1"}
    assert len({port for _, _, port in site.asked}) == 1


def test_threads_share_it(site: Site) -> None:
    from concurrent.futures import ThreadPoolExecutor

    for number in range(40):
        site.pages[f"/{number}"] = partial(answer, body=str(number).encode() * 1000)
    with ThreadPoolExecutor(8) as pool:
        bodies = list(pool.map(lambda number: fetch(f"{site.url}/{number}", HERE), range(40)))
    assert bodies == [str(number).encode() * 1000 for number in range(40)]


def test_a_reader_travels_to_other_processes(site: Site) -> None:
    site.pages["/"] = partial(answer, body=b"here")
    assert pickle.loads(pickle.dumps(partial(fetch, site.url, HERE)))() == b"here"  # noqa: S301


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(site: Site, status: int) -> None:
    site.pages["/old/a"] = partial(answer, status=status, Location="../new")
    site.pages["/new"] = partial(answer, status=status, Location=f"{site.url}/last")
    site.pages["/last"] = partial(answer, body=b"found")
    assert fetch(f"{site.url}/old/a", HERE) == b"found"


def test_as_many_redirects_are_followed_as_allowed(site: Site) -> None:
    for number in range(6):
        site.pages[f"/{number}"] = partial(answer, status=302, Location=f"/{number + 1}")
    site.pages["/6"] = partial(answer, body=b"found")
    assert fetch(f"{site.url}/1", HERE) == b"found"
    with pytest.raises(ImageError, match="more than 5 redirects"):
        fetch(f"{site.url}/0", HERE)
    assert [path for path, _, _ in site.asked].count("/6") == 1


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("/loop", "more than 5 redirects"),
        ("file:///etc/passwd", "only http and https are fetched, not file"),
        ("http://someone:secret@127.0.0.1/", "user name or password"),
        ("http://[::1", "no valid URL"),
    ],
)
def test_redirects_to_nowhere(site: Site, location: str, reason: str) -> None:
    site.pages["/loop"] = partial(answer, status=302, Location=location)
    with pytest.raises(ImageError, match=reason) as caught:
        fetch(f"{site.url}/loop", HERE)
    assert "secret" not in str(caught.value)
    assert len(site.asked) <= 6


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///etc/passwd", "only http and https are fetched, not file"),
        ("ftp://example.org/a.jpg", "not ftp"),
        ("gopher://127.0.0.1/", "not gopher"),
        ("a.jpg", "not a relative URL"),
        ("http://", "no valid URL"),
        ("http://me:secret@example.org/", "a URL with a user name or password"),
        ("http://example.org:99999/", "no valid URL"),
        ("http://me:se/cret@example.org/", "^no valid URL$"),
        (f"http://{'a' * 64}.example/", "no valid URL"),
        ("http://example.org/\0", "no valid URL"),
        ("http://example.org/\udcff", "no valid URL"),
    ],
)
def test_what_is_no_url(url: str, reason: str) -> None:
    with pytest.raises(ImageError, match=reason) as caught:
        fetch(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f.1",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
        "10.1.2.3",
    ],
)
def test_a_private_address_is_refused_however_it_is_written(site: Site, host: str) -> None:
    started = time.monotonic()
    with pytest.raises(ImageError, match="leads to the private address .*, which needs allow_private_addresses"):
        fetch(f"http://{host}:{site.port}/", Limits(seconds=10))
    assert time.monotonic() - started < 8
    assert not site.asked


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("8.8.8.8", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::808:808", True),  # NAT64 of 8.8.8.8
        ("0.0.0.0", False),  # noqa: S104
        ("10.0.0.1", False),
        ("100.64.0.1", False),  # carrier-grade NAT, and the metadata service of one cloud
        ("127.8.8.8", False),
        ("169.254.169.254", False),
        ("172.31.255.255", False),
        ("192.168.1.1", False),
        ("198.18.0.1", False),
        ("224.0.1.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::127.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),  # NAT64 of 10.0.0.1
        ("64:ff9b:1::808:808", False),
        ("2002:808:808::1", False),  # 6to4
        ("2001:0:808:808::1", False),  # Teredo
        ("2001:db8::1", False),
        ("fc00::1", False),
        ("fe80::1", False),
        ("fe80::1%1", False),
        ("fec0::1", False),
        ("ff0e::1", False),
        ("100::1", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_a_redirect_into_the_private_network_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first hop stands for a public server: its name is looked up as public, and the way there ends here."""
    site.pages["/a"] = partial(answer, status=302, Location=f"{site.url}/secret")
    site.pages["/secret"] = partial(answer, body=b"of the house")
    pretend(site, monkeypatch, [["93.184.216.34"]])
    with pytest.raises(ImageError, match=r"127.0.0.1 leads to the private address 127.0.0.1"):
        fetch("http://public.example/a", Limits(seconds=10))
    assert [path for path, _, _ in site.asked] == ["/a"]


def test_the_address_that_was_checked_is_the_one_connected_to(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the name is public the first time it is looked up, and private the second time."""
    site.pages["/a"] = partial(answer, body=b"from the public server")
    lookups, connected = pretend(site, monkeypatch, [["93.184.216.34"], ["127.0.0.1"]])
    assert fetch("http://rebinding.example/a", Limits(seconds=10)) == b"from the public server"
    assert lookups == ["rebinding.example"]
    assert connected == ["93.184.216.34"]
    assert site.asked[0][1] == "rebinding.example"


def test_one_private_address_among_public_ones_is_enough(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    _, connected = pretend(site, monkeypatch, [["93.184.216.34", "10.0.0.1"]])
    with pytest.raises(ImageError, match=r"the private address 10.0.0.1"):
        fetch("http://both.example/a", Limits(seconds=10))
    assert connected == []


def test_a_connection_without_checks_is_not_used_for_a_checked_fetch(site: Site) -> None:
    site.pages["/"] = partial(answer, body=b"private")
    assert fetch(site.url, HERE) == b"private"
    with pytest.raises(ImageError, match="private address"):
        fetch(site.url, Limits(seconds=10))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_a_certificate_is_checked_for_the_name_though_the_address_is_pinned(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [str(tmp_path / name) for name in ("key.pem", "cert.pem")]
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test -addext"
    command = [*make.split(), "subjectAltName=DNS:pictures.example", "-keyout", files[0], "-out", files[1]]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files[1], files[0])
    names: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    site.server.socket = context.wrap_socket(site.server.socket, server_side=True)
    site.pages["/a"] = partial(answer, body=b"over TLS")
    monkeypatch.setenv("SSL_CERT_FILE", files[1])
    pretend(site, monkeypatch, [["93.184.216.34"]])
    assert fetch("https://pictures.example/a", Limits(seconds=10)) == b"over TLS"
    assert names == ["pictures.example"]
    assert site.asked[0][1] == "pictures.example"
    with pytest.raises(ImageError, match="its certificate is not valid: .*other.example"):
        fetch("https://other.example/a", Limits(seconds=10))


def pretend(site: Site, monkeypatch: pytest.MonkeyPatch, answers: list[list[str]]) -> tuple[list[str], list[str]]:
    """Let names of .example be looked up as `answers`, in turn, and public addresses lead to the site."""
    lookups: list[str] = []
    connected: list[str] = []
    look_up, connect = socket.getaddrinfo, socket.create_connection

    def getaddrinfo(host: str, port: int, *args: Any, **named: Any) -> Any:
        if not str(host).endswith(".example"):
            return look_up(host, port, *args, **named)
        lookups.append(host)
        found = answers[min(len(lookups), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    def create_connection(address: tuple[str, int], *args: Any, **named: Any) -> socket.socket:
        connected.append(address[0])
        return connect(("127.0.0.1", site.port), *args, **named)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket, "create_connection", create_connection)
    return lookups, connected


def test_a_body_that_is_too_large_is_not_read(site: Site) -> None:
    small = Limits(private=True, seconds=10, max_bytes=1000)
    site.pages["/exact"] = partial(answer, body=b"x" * 1000)
    site.pages["/more"] = partial(answer, body=b"x" * 1001)
    site.pages["/endless"] = partial(drip, head=b"HTTP/1.1 200 OK\r\n\r\n", every=0, forever=b"x" * 100_000)
    assert len(fetch(f"{site.url}/exact", small)) == 1000
    for path in ("/more", "/endless"):
        with pytest.raises(ImageError, match="too large: the limit is 1,000 bytes"):
            fetch(f"{site.url}{path}", small)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", id="body"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX-Header: ", id="headers"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\nX: ", id="informational"),
    ],
)
def test_bytes_that_drip_in_end_with_the_time(site: Site, head: bytes) -> None:
    site.pages["/"] = partial(drip, head=head)
    started = time.monotonic()
    with pytest.raises(ImageError, match=r"took longer than 0.5 s"):
        fetch(site.url, Limits(private=True, seconds=0.5))
    assert time.monotonic() - started < 8


def test_silence_ends_with_the_time_too(site: Site) -> None:
    site.pages["/"] = lambda _: time.sleep(10)
    started = time.monotonic()
    with pytest.raises(ImageError, match=r"took longer than 0.4 s"):
        fetch(site.url, Limits(private=True, seconds=0.4))
    assert time.monotonic() - started < 8


def test_a_failure_that_may_pass_is_tried_again(site: Site) -> None:
    answers = [partial(answer, status=503, Retry_After="0"), partial(answer, status=429, Retry_After="0")]

    def page(handler: BaseHTTPRequestHandler) -> None:
        (answers.pop(0) if answers else partial(answer, body=b"at last"))(handler)

    site.pages["/"] = page
    assert fetch(site.url, HERE) == b"at last"
    assert len(site.asked) == 3


def test_a_broken_connection_is_tried_again(site: Site) -> None:
    def page(handler: BaseHTTPRequestHandler) -> None:
        if len(site.asked) == 1:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            handler.close_connection = True
        else:
            answer(handler, b"whole")

    site.pages["/"] = page
    assert fetch(site.url, HERE) == b"whole"


def test_retries_end(site: Site) -> None:
    site.pages["/busy"] = partial(answer, status=503, Retry_After="0")
    site.pages["/later"] = partial(answer, status=429, Retry_After="3600")
    site.pages["/date"] = partial(answer, status=429, Retry_After="Fri, 01 Jan 2100 00:00:00 GMT")
    for path, reason, times in (
        ("/busy", "HTTP 503 Service Unavailable", 4),
        ("/later", "HTTP 429", 1),
        ("/date", "HTTP 429", 1),
    ):
        site.asked.clear()
        started = time.monotonic()
        with pytest.raises(ImageError, match=reason):
            fetch(f"{site.url}{path}", HERE)
        assert len(site.asked) == times
        assert time.monotonic() - started < 8


@pytest.mark.parametrize(
    ("status", "headers", "reason"),
    [
        (404, {}, "^HTTP 404 Not Found$"),
        (403, {}, "^HTTP 403 Forbidden$"),
        (304, {}, "^HTTP 304 Not Modified$"),
        (206, {}, "^HTTP 206 Partial Content$"),
        (299, {}, "^HTTP 299$"),
        (302, {}, "^HTTP 302 Found$"),
        (200, {"Content-Encoding": "gzip"}, "sent compressed"),
    ],
)
def test_other_answers_are_reasons(site: Site, status: int, headers: dict[str, str], reason: str) -> None:
    site.pages["/"] = partial(answer, status=status, **headers)
    with pytest.raises(ImageError, match=reason):
        fetch(site.url, HERE)
    assert len(site.asked) == 1


def test_nobody_there(site: Site) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(ImageError, match="cannot be fetched: .*refused"):
            fetch(f"http://127.0.0.1:{closed.getsockname()[1]}/", Limits(private=True, seconds=30))
    with pytest.raises(ImageError, match=r"no-such-host.invalid cannot be looked up"):
        fetch("http://no-such-host.invalid/", Limits(seconds=30))


def test_headers_that_no_library_foresaw(site: Site) -> None:
    for length in (b"9" * 5000, b"-1", b"1_0", b"0x10", b"5, 6"):
        site.pages["/"] = partial(drip, head=b"HTTP/1.1 200 OK\r\nContent-Length: " + length + b"\r\n\r\n")
        with pytest.raises(ImageError, match="cannot be fetched: .*Content-Length"):
            fetch(site.url, HERE)


def test_what_is_not_http(site: Site) -> None:
    def page(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"220 ftp ready\r\n" * 10)
        handler.close_connection = True

    site.pages["/"] = page
    with pytest.raises(ImageError, match="cannot be fetched|took longer"):
        fetch(site.url, Limits(private=True, seconds=1))
