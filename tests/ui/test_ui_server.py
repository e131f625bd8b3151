"""Whom the page's server lets in, and how it is set up: a real server, no browser."""

import http.client
import tomllib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from cbir.ui.launch import PAGE
from cbir.ui.query.images import MAX_BYTES
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.NewSession_pb2 import Config
from websockets.sync.client import connect

from cbir.settings import Settings
from cbir.stores.registry import open_store
from tests.support.browser import served
from tests.support.crowd import crowd

NAME = "photos.example.org"
OPENING = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.fixture(scope="module")
def alone(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a page for this machine."""
    with served([f"edge:{index}"], tmp_path_factory.mktemp("alone")) as address:
        yield address


@pytest.fixture(scope="module")
def public(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a page that a proxy offers to others."""
    with served([f"edge:{index}"], tmp_path_factory.mktemp("public"), ["--public-name", NAME]) as address:
        yield address


def ask(address: str, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, str]:
    """Status and cookie of an answer."""
    with closing(http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)) as connection:
        connection.request(method, path, body or None, headers)
        with connection.getresponse() as answer:
            return answer.status, answer.headers.get("Set-Cookie", "").partition(";")[0]


def opened(address: str, **headers: str) -> int:
    """Status of the answer to a browser that opens the page's websocket."""
    return ask(address, "GET", "/_stcore/stream", {**OPENING, **headers})[0]


def test_this_machine_is_let_in(alone: str, public: str) -> None:
    for address in (alone, public):
        assert opened(address, Origin=address) == 101


def test_a_public_name_is_let_in_once_it_is_told(alone: str, public: str) -> None:
    for host in ({"Host": NAME}, {}):  # a proxy that passes the visitor's Host on, and one that does not
        headers = {"Origin": f"https://{NAME}", **host}
        assert (opened(alone, **headers), opened(public, **headers)) == (403, 101)


def test_strangers_are_turned_away(alone: str, public: str) -> None:
    for address in (alone, public):
        assert opened(address, Origin="https://evil.example.com") == 403
        assert opened(address, Origin=f"https://{NAME}.example.com") == 403
        assert opened(address, Origin="http://evil.example.com", Host="evil.example.com") == 403, "DNS rebinding"
        assert opened(address, Host="evil.example.com") == 403


def test_an_upload_needs_the_token_of_the_page(alone: str) -> None:
    path = "/_stcore/upload_file/session/file"
    _, cookie = ask(alone, "GET", "/_stcore/health", {})
    token = cookie.partition("=")[2].strip('"')
    wrong = {}, {"Cookie": cookie}, {"X-Xsrftoken": token}, {"Cookie": cookie, "X-Xsrftoken": "2|00|00|00"}
    assert [ask(alone, "PUT", path, headers, b"x")[0] for headers in wrong] == [403] * 4
    right = {"Cookie": cookie, "X-Xsrftoken": token}
    assert ask(alone, "PUT", path, right, b"x")[0] == 400, "no such session, but the token is right"


def configured(address: str) -> Config:
    """What the server tells the page of its settings."""
    with connect(f"{address.replace('http', 'ws')}/_stcore/stream", origin=address, max_size=None) as socket:  # type: ignore[arg-type]
        message = BackMsg()
        message.rerun_script.query_string = ""
        socket.send(message.SerializeToString())
        while True:
            answer = ForwardMsg.FromString(socket.recv(timeout=20))  # type: ignore[arg-type]
            if answer.HasField("new_session"):
                return answer.new_session.config


def test_the_page_is_set_up_with_care(alone: str) -> None:
    config = configured(alone)
    assert config.gather_usage_stats is False
    assert config.toolbar_mode == Config.ToolbarMode.MINIMAL
    port = urlsplit(alone).port
    listening = {
        one.laddr.ip
        for child in psutil.Process().children(recursive=True)
        for one in child.net_connections("inet")
        if one.status == psutil.CONN_LISTEN and one.laddr.port == port
    }
    assert listening
    assert listening <= {"127.0.0.1", "::1"}


def test_what_a_server_does_not_tell_is_set() -> None:
    settings = tomllib.loads((PAGE.parent / ".streamlit" / "config.toml").read_text())
    assert settings["server"]["maxUploadSize"] == MAX_BYTES >> 20
    assert settings["client"]["showErrorDetails"] == "none"


def test_many_visitors_search_at_once(alone: str, index: Path) -> None:
    store = open_store(f"edge:{index}", None, Settings())
    ids = store.sample(100, 0)
    store.close()
    found = crowd(alone, "", ids, visitors=6, seconds=4)
    assert len(found) >= 6
    assert {(one.hits, one.errors) for one in found} == {(24, ())}
