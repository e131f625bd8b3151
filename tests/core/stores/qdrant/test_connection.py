"""The connection to a server: no unprotected one, gRPC where it answers, keys and certificates."""

import logging
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc
from qdrant_client.grpc import PointStruct

from cbir.errors import UsageError
from cbir.records import to_plain
from cbir.settings import Settings
from cbir.stores.qdrant.server import Server, ServerError
from cbir.stores.url import parse
from tests.support.grpc_server import grpc_port
from tests.support.qdrant_points import (
    KEY,
    NOWHERE,
    Clock,
    collections,
)
from tests.support.qdrant_server import qdrant_server

pytestmark = [
    # What the modules filter, where pytest resets the filters.
    pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection"),
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
]


@pytest.mark.parametrize(
    ("url", "key", "told"),
    [
        ("http://qdrant.example.org:6333", None, "without TLS .https. and without an API key, so that anyone who"),
        ("https://qdrant.example.org:6333", None, "without an API key, so that anyone"),
        ("http://10.0.0.7:6333", KEY, "without TLS .https., so that others can read the key"),
        ("http://qdrant:6333", KEY, "without TLS"),
        ("http://localhost.example.org", KEY, "without TLS"),
        ("http://127.0.0.1.example.org", None, "without TLS"),
        ("http://0.0.0.0:6333", None, "without TLS"),
        ("http://[::ffff:127.0.0.1]:6333", None, "without TLS"),
        ("http://127.0.0.1@10.0.0.7:6333", None, "http://10.0.0.7:6333 would be used without TLS"),
        ("https://qdrant.example.org", KEY, ""),
        ("http://localhost:6333", None, ""),
        ("http://LOCALHOST:6333", None, ""),
        ("http://127.0.0.2:6333", None, ""),
        ("http://[::1]:6333", None, ""),
    ],
)
def test_an_open_door_is_refused_unless_it_is_meant(url: str, key: str | None, told: str) -> None:
    Server(parse(url), Settings(QDRANT_API_KEY=key, insecure=True))
    if told:
        with pytest.raises(UsageError, match=f"{told}.*CBIR_INSECURE=1") as caught:
            Server(parse(url), Settings(QDRANT_API_KEY=key))
        assert KEY not in str(caught.value)
    else:
        Server(parse(url), Settings(QDRANT_API_KEY=key))


@pytest.mark.parametrize(
    "url",
    [
        r"http://10.0.0.7\@127.0.0.1:6333",
        "http://127.0.0.1:6333#@10.0.0.7",
        "http://127.0.0.1 .example.org",
        "http://127.0.0.1:99999",
        "http://[::1",
        "http://",
        "http://localhost:port",
        "http://me:secret@localhost/%2e%2e",
    ],
)
def test_an_address_that_can_be_read_in_two_ways_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="is not the address of a Qdrant server|was not found") as caught:
        Server(parse(url), Settings(insecure=True))
    assert "secret" not in str(caught.value)


def test_a_command_says_so_in_one_line_and_ends_with_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDRANT_API_KEY", KEY)
    command = [
        sys.executable,
        "-m",
        "cbir.ingest.command",
        "collections",
        "list",
        "--store",
        "http://me:pw@10.0.0.7:6333",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, len(done.stderr.splitlines()), done.stdout) == (2, 1, "")
    assert "http://10.0.0.7:6333 would be used without TLS" in done.stderr
    assert KEY not in done.stderr
    assert "pw" not in done.stderr


def test_the_key_is_in_no_repr() -> None:
    server = Server(parse("http://localhost"), Settings(QDRANT_API_KEY=KEY))
    assert KEY not in repr(vars(server))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:6333", 6334),
        ("http://localhost", 6334),
        ("https://x.cloud.qdrant.io:6333", 6334),
        ("https://x.cloud.qdrant.io", 6334),
        ("https://proxy.example.org:443", 0),
        ("http://localhost:8080", 0),
        ("https://proxy.example.org:443?grpc=8443", 8443),
        ("http://localhost:6333?grpc=0", 0),
        ("http://localhost:6333?m=32&grpc=7000", 7000),
    ],
)
def test_where_grpc_is_looked_for(url: str, expected: int) -> None:
    server = Server(parse(url), Settings(QDRANT_API_KEY=KEY))
    assert server._connection.grpc_port == expected
    assert "grpc" not in server.given, "it is no property of a collection"


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), _VALUES, max_size=5))
def test_grpc_carries_any_payload_that_we_store(payload: dict[str, object]) -> None:
    payload = {name: to_plain(value) for name, value in payload.items()}
    sent = PointStruct(payload=RestToGrpc.convert_payload(payload)).SerializeToString()
    assert GrpcToRest.convert_payload(PointStruct.FromString(sent).payload) == payload


@pytest.mark.parametrize("asked_for", [True, False])
@pytest.mark.parametrize("there", ["nothing", "rest", "silence"])
def test_where_no_grpc_answers_rest_is_used_and_one_line_says_so(
    there: str, asked_for: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with qdrant_server() as rest, socket.create_server(("127.0.0.1", 0)) as silent:
        rest_port = int(rest.url.rpartition(":")[2])
        number = {"nothing": 1, "rest": rest_port, "silence": silent.getsockname()[1]}[there]
        if not asked_for:
            monkeypatch.setattr("cbir.stores.qdrant.connection._REST_PORT", rest_port)
            monkeypatch.setattr("cbir.stores.qdrant.connection._GRPC_PORT", number)
        monkeypatch.setattr("cbir.stores.qdrant.connection._PROBE_SECONDS", 1)
        url = f"{rest.url}?grpc={number}" if asked_for else rest.url
        with caplog.at_level(logging.INFO, "cbir"):
            assert [collections(url) for _ in range(3)] == [[], [], []]
    (told,) = (record for record in caplog.records if record.name.startswith("cbir"))
    assert f"{rest.url}: no gRPC at port {number}, so REST is used" in told.getMessage()
    assert told.levelno == (logging.WARNING if asked_for else logging.INFO)


def test_grpc_0_is_rest_without_a_word(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    with qdrant_server() as rest, grpc_port() as port, caplog.at_level(logging.INFO, "cbir"):
        monkeypatch.setattr("cbir.stores.qdrant.connection._REST_PORT", int(rest.url.rpartition(":")[2]))
        monkeypatch.setattr("cbir.stores.qdrant.connection._GRPC_PORT", port.number)
        assert collections(f"{rest.url}?grpc=0") == []
        assert not port.calls
        assert collections(rest.url) == []
        assert port.calls == {"HealthCheck": 1, "List": 1}
    assert [record for record in caplog.records if record.name.startswith("cbir")] == []


def test_the_key_goes_along_and_a_wrong_one_is_one_line() -> None:
    with grpc_port(key=KEY) as port, qdrant_server(api_key=KEY) as rest:
        assert collections(f"{NOWHERE}?grpc={port.number}", QDRANT_API_KEY=KEY) == []
        with pytest.raises(ServerError, match=f"{rest.url} answered 401 .*check QDRANT_API_KEY") as caught:
            collections(f"{rest.url}?grpc={port.number}", QDRANT_API_KEY="another-key")
        assert "another-key" not in str(caught.value)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of this machine's that no authority knows, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def rest_with_tls(certificate: tuple[Path, Path]) -> Iterator[str]:
    """The URL of something that answers as a Qdrant server without collections does."""

    class Empty(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = b'{"result": {"collections": []}, "status": "ok", "time": 0.0}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None: ...

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with ThreadingHTTPServer(("127.0.0.1", 0), Empty) as server:
        server.handle_error = lambda request, address: None  # type: ignore[method-assign]  a handshake that fails
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"https://localhost:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_authority_of_ones_own(
    certificate: tuple[Path, Path], rest_with_tls: str, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    chain, key = certificate
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), chain.read_bytes())])
    with grpc_port(credentials=credentials) as port:
        assert collections(f"{rest_with_tls}?grpc={port.number}", server_ca=chain) == []
        assert port.calls["List"] == 1
        assert collections(rest_with_tls, server_ca=chain) == [], "REST trusts it, too"
        with pytest.raises(ServerError, match=r"cannot be trusted: .*CERTIFICATE_VERIFY_FAILED.*CBIR_SERVER_CA"):
            collections(f"{rest_with_tls}?grpc={port.number}", retry_seconds=20.0)
        assert clock.pauses == [], "it was asked again"
        assert port.calls["List"] == 1
    assert "so REST is used" in caplog.text


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_that_is_no_authority_is_refused(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    if content:
        path.write_text(content)
    with pytest.raises(UsageError, match=f"CBIR_SERVER_CA: {path} holds no certificate: "):
        Server(parse("https://localhost:6333"), Settings(server_ca=path))
