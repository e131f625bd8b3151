"""`cbir-ui`."""

import http.client
import os
import sys
import tomllib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import psutil
import pytest
from cbir.ui.launch import PAGE
from cbir.ui.launch import main as launch
from cbir.ui.query.images import MAX_BYTES
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.NewSession_pb2 import Config
from websockets.sync.client import connect

from cbir.listening import EVERYWHERE
from cbir.settings import Settings
from cbir.stores.registry import open_store
from tests.support.browser import free_port, served
from tests.support.concurrent_visitors import search_concurrently


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--store", "edge:a,edge:b"], "--store edge:a,edge:b: only one store is allowed"),
        (["--store", "http://me:secret@host,edge:b"], "--store http://host,edge:b: "),
        (["--public-name", "https://photos.example.org"], "not a host name"),
        (["--public-name", "*"], "not a host name"),
        (["--public-name", "photos.example.org:443"], "not a host name"),
    ],
)
def test_invalid_options_are_refused_in_one_line(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["cbir-ui", *arguments])
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("it started the page"))
    with pytest.raises(SystemExit) as stop:
        launch()
    err = capsys.readouterr().err
    assert (stop.value.code, err.count("\n")) == (2, 1)
    assert message in err


def test_allowed_hosts_are_passed_to_streamlit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], index: Path
) -> None:
    command: list[str] = []
    monkeypatch.setattr("os.execve", lambda path, arguments, environment: command.extend(arguments))
    monkeypatch.setattr("cbir.listening.require_free", lambda host, port: None)  # not every machine has IPv6

    def launched(*arguments: str) -> tuple[list[str], str, str]:
        command.clear()
        monkeypatch.setattr(sys, "argv", ["cbir-ui", "--store", f"edge:{index}", *arguments])
        with pytest.raises(SystemExit):
            launch()
        out, err = capsys.readouterr()
        return [option.partition("=")[2] for option in command if "allowedHosts" in option], out, err

    assert launched()[0] == ["localhost", "127.0.0.1", "::1"]
    hosts, out, err = launched("--host", "127.0.0.2")
    assert (hosts[-1], "http://127.0.0.2:" in out, err) == ("127.0.0.2", True, "")
    assert "http://[::1]:" in launched("--host", "::1")[1]
    hosts, _, err = launched("--host", EVERYWHERE[0])
    assert (hosts, "warning: anyone who can reach" in err) == ([], True)
    assert launched("--host", EVERYWHERE[0], "--public-name", "a.org", "--public-name", "b.org")[0][-2:] == [
        "a.org",
        "b.org",
    ]
    assert "--server.corsAllowedOrigins=https://b.org" in command
    assert "--browser.serverAddress=a.org" in command


def test_a_port_in_use_is_an_error_of_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(sys, "argv", ["cbir-ui", "--port", str(port), "--host", "127.0.0.1"])
        with pytest.raises(SystemExit) as stop:
            launch()
    assert stop.value.code == 2
    assert f"error: cannot listen on 127.0.0.1:{port}: Address already in use" in capsys.readouterr().err


def test_the_packaged_settings_are_safe() -> None:
    settings = tomllib.loads((PAGE.parent / ".streamlit" / "config.toml").read_text())
    assert settings["server"]["address"] == "localhost"
    assert not (PAGE.parent / "pages").exists(), "Streamlit would take it for the site's pages at the first visit"
    assert settings["server"]["maxUploadSize"] == 10
    assert settings["server"]["enableXsrfProtection"] is True
    assert settings["client"]["showErrorDetails"] == "none"
    assert settings["browser"]["gatherUsageStats"] is False
    assert "enableStaticServing" not in settings["server"]


NAME = "photos.example.org"


OPENING = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.fixture(scope="module")
def public(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a page that a proxy serves to others."""
    with served([f"edge:{index}"], tmp_path_factory.mktemp("public"), ["--public-name", NAME]) as address:
        yield address


def request(address: str, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, str]:
    """Return the status and the cookie of an answer."""
    with closing(http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)) as connection:
        connection.request(method, path, body or None, headers)
        with connection.getresponse() as answer:
            return answer.status, answer.headers.get("Set-Cookie", "").partition(";")[0]


def websocket_status(address: str, **headers: str) -> int:
    """Return the status of the answer to a browser that opens the page's websocket."""
    return request(address, "GET", "/_stcore/stream", {**OPENING, **headers})[0]


def test_this_machine_is_accepted(site: SimpleNamespace, public: str) -> None:
    for address in (site.address, public):
        assert websocket_status(address, Origin=address) == 101


def test_a_public_name_is_accepted_when_it_is_configured(site: SimpleNamespace, public: str) -> None:
    for host in ({"Host": NAME}, {}):  # a proxy that passes the visitor's Host on, and one that does not
        headers = {"Origin": f"https://{NAME}", **host}
        assert (websocket_status(site.address, **headers), websocket_status(public, **headers)) == (403, 101)


def test_foreign_hosts_and_origins_are_refused(site: SimpleNamespace, public: str) -> None:
    for address in (site.address, public):
        assert websocket_status(address, Origin="https://evil.example.com") == 403
        assert websocket_status(address, Origin=f"https://{NAME}.example.com") == 403
        assert websocket_status(address, Origin="http://evil.example.com", Host="evil.example.com") == 403, (
            "DNS rebinding"
        )
        assert websocket_status(address, Host="evil.example.com") == 403


def test_an_upload_needs_the_token_of_the_page(site: SimpleNamespace) -> None:
    path = "/_stcore/upload_file/session/file"
    _, cookie = request(site.address, "GET", "/_stcore/health", {})
    token = cookie.partition("=")[2].strip('"')
    wrong = {}, {"Cookie": cookie}, {"X-Xsrftoken": token}, {"Cookie": cookie, "X-Xsrftoken": "2|00|00|00"}
    assert [request(site.address, "PUT", path, headers, b"x")[0] for headers in wrong] == [403] * 4
    right = {"Cookie": cookie, "X-Xsrftoken": token}
    assert request(site.address, "PUT", path, right, b"x")[0] == 400, "no such session, but the token is right"


def configured(address: str) -> Config:
    """Return the settings that the server sends to the page."""
    with connect(f"{address.replace('http', 'ws')}/_stcore/stream", origin=address, max_size=None) as socket:  # type: ignore[arg-type]
        message = BackMsg()
        message.rerun_script.query_string = ""
        socket.send(message.SerializeToString())
        while True:
            answer = ForwardMsg.FromString(socket.recv(timeout=20))  # type: ignore[arg-type]
            if answer.HasField("new_session"):
                return answer.new_session.config


def test_the_server_uses_safe_settings(site: SimpleNamespace) -> None:
    config = configured(site.address)
    assert config.gather_usage_stats is False
    assert config.toolbar_mode == Config.ToolbarMode.MINIMAL
    port = urlsplit(site.address).port
    listening = {
        socket.laddr.ip
        for child in psutil.Process().children(recursive=True)
        for socket in child.net_connections("inet")
        if socket.status == psutil.CONN_LISTEN and socket.laddr.port == port
    }
    assert listening
    assert listening <= {"127.0.0.1", "::1"}


def test_upload_size_and_error_details_are_limited() -> None:
    settings = tomllib.loads((PAGE.parent / ".streamlit" / "config.toml").read_text())
    assert settings["server"]["maxUploadSize"] == MAX_BYTES >> 20
    assert settings["client"]["showErrorDetails"] == "none"


def test_several_visitors_search_at_the_same_time(site: SimpleNamespace, index: Path) -> None:
    store = open_store(f"edge:{index}", None, Settings())
    ids = store.sample(100, 0)
    store.close()
    found = search_concurrently(site.address, "", ids, visitors=6, seconds=4)
    assert len(found) >= 6
    assert {(search.hits, search.errors) for search in found} == {(24, ())}
