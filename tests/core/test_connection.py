"""The way to a server: no open doors, gRPC where it answers and REST where not, and the same errors from both."""

import logging
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc import StatusCode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc
from qdrant_client.grpc import PointStruct
from qdrant_client.http import models

from cbir.errors import CbirError, UsageError
from cbir.progress import silent
from cbir.records import to_plain
from cbir.settings import Settings
from cbir.stores.qdrant.server import Server, ServerError, server_options
from cbir.stores.qdrant.writer import QdrantWriter
from cbir.stores.registry import connect, open_store
from cbir.stores.url import parse
from tests.support.building import plan_for, points_of, qdrant_writer, unit_vectors
from tests.support.faults import Fault
from tests.support.grpc_server import Port, grpc_port
from tests.support.qdrant_server import qdrant_server

KEY = "the-right-key"
VECTORS = unit_vectors(40)
POINTS = points_of(VECTORS)
PLAN = plan_for(VECTORS, "set-model")
NOWHERE = "http://127.0.0.1:1"  # where no REST answers

pytestmark = [
    # what the module filters, where pytest resets the filters
    pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection"),
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
]


@pytest.fixture
def port() -> Iterator[Port]:
    with grpc_port() as one:
        yield one


@pytest.fixture
def writer(port: Port) -> QdrantWriter:
    return writer_at(f"{NOWHERE}?grpc={port.number}")


def writer_at(url: str, **settings: object) -> QdrantWriter:
    return qdrant_writer(url, PLAN, Settings(**{"server_retry_seconds": 20.0, **settings}))  # type: ignore[arg-type]


def collections(url: str, retry_seconds: float = 0.0, **settings: object) -> list[str]:
    server = Server(parse(url), Settings(**settings), retry_seconds)  # type: ignore[arg-type]
    return [one.name for one in server.ask(lambda client: client.get_collections()).collections]


# Open doors


@pytest.mark.parametrize(
    ("url", "key", "told"),
    [
        ("http://qdrant.example.org:6333", None, "without TLS .https. and without an API key, so that whoever reaches"),
        ("https://qdrant.example.org:6333", None, "without an API key, so that whoever"),
        ("http://10.0.0.7:6333", KEY, "without TLS .https., so that the key"),
        ("http://qdrant:6333", KEY, "without TLS"),
        ("http://localhost.example.org", KEY, "without TLS"),
        ("http://127.0.0.1.example.org", None, "without TLS"),
        ("http://0.0.0.0:6333", None, "without TLS"),
        ("http://[::ffff:127.0.0.1]:6333", None, "without TLS"),
        ("http://127.0.0.1@10.0.0.7:6333", None, "http://10.0.0.7:6333 would be spoken to without TLS"),
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
    assert "http://10.0.0.7:6333 would be spoken to without TLS" in done.stderr
    assert KEY not in done.stderr
    assert "pw" not in done.stderr


def test_the_key_is_in_no_repr() -> None:
    server = Server(parse("http://localhost"), Settings(QDRANT_API_KEY=KEY))
    assert KEY not in repr(vars(server))


def test_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CBIR_INSECURE", "1")
    monkeypatch.setenv("CBIR_SERVER_TIMEOUT_SECONDS", "7")
    monkeypatch.setenv("CBIR_SERVER_CA", str(tmp_path / "ca.pem"))
    settings = Settings()
    assert (settings.insecure, settings.server_timeout_seconds, settings.server_ca) == (True, 7, tmp_path / "ca.pem")
    monkeypatch.setenv("CBIR_SERVER_TIMEOUT_SECONDS", "0")
    with pytest.raises(UsageError, match="CBIR_SERVER_TIMEOUT_SECONDS: Input should be greater"):
        Settings()


# Which way


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


@pytest.mark.parametrize("value", ["-1", "65536", "yes"])
def test_a_port_that_cannot_be_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match="grpc: Input should be"):
        server_options(parse(f"http://localhost?grpc={value}"))


def test_all_goes_through_grpc_and_comes_back_as_through_rest(port: Port) -> None:
    url = f"{NOWHERE}?grpc={port.number}&m=32&quantization=scalar&shards=3"
    with qdrant_server() as rest:
        answers = []
        for one in (f"{rest.url}?grpc=0&m=32&quantization=scalar&shards=3", url):
            writer = writer_at(one)
            assert (writer.write(POINTS), writer.needs_publishing, len(writer.stored_ids)) == ([], True, 0)
            writer.delete([POINTS[0].id])
            writer.publish(silent)
            again = writer_at(one)
            assert not again.needs_publishing
            assert all(again.stored_ids.has(point.id, point.version, point.digest) for point in POINTS[1:])
            store = open_store(one, "set", Settings())
            points = {point.id: replace(point, vector=None) for point in store.points()}  # type: ignore[arg-type]
            assert points == {point.id: replace(point, vector=None) for point in POINTS[1:]}  # type: ignore[arg-type]
            ids, matrix = store.matrix()
            hits = store.search(VECTORS[:5], 3)
            thumbnails = store.thumbnails([POINTS[3].id, POINTS[0].id])
            assert thumbnails == [POINTS[3].thumbnail, None]
            info, catalog = store.info, connect(one, Settings())
            found = (ids, hits, catalog.names(), catalog.resolve("set"))
            answers.append((*found, info.count, info.model, info.options, store.sample(5, 1)))
            assert np.allclose(matrix, [VECTORS[int(point.payload["key"])] for point in map_ids(ids)], atol=1e-6)
            assert store.vectors([POINTS[0].id]) == [None]
            client = Server(parse(one), Settings()).ask(lambda client: client.get_collection(PLAN.collection))
            assert client.payload_schema["label"].data_type == models.PayloadSchemaType.KEYWORD
    assert_alike(*answers)
    used = {"Create", "Upsert", "Delete", "CreateFieldIndex", "Update", "UpdateAliases", "Scroll", "Get", "QueryBatch"}
    assert used <= set(port.calls)


def map_ids(ids: list[str]) -> list:
    by_id = {point.id: point for point in POINTS}
    return [by_id[one] for one in ids]


def assert_alike(one: tuple, other: tuple) -> None:
    assert one[:1] + one[2:] == other[:1] + other[2:]
    for hits, others in zip(one[1], other[1], strict=True):
        assert [(hit.id, hit.payload) for hit in hits] == [(hit.id, hit.payload) for hit in others]
        assert np.allclose([hit.score for hit in hits], [hit.score for hit in others], atol=1e-6)


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
        start = time.monotonic()
        with caplog.at_level(logging.INFO, "cbir"):
            assert [collections(url) for _ in range(3)] == [[], [], []]
        assert time.monotonic() - start < 4
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


# Its errors


@pytest.mark.parametrize(
    ("code", "status", "passing"),
    [
        (StatusCode.INVALID_ARGUMENT, 400, False),
        (StatusCode.UNAUTHENTICATED, 401, False),
        (StatusCode.PERMISSION_DENIED, 403, False),
        (StatusCode.NOT_FOUND, 404, False),
        (StatusCode.ALREADY_EXISTS, 409, False),
        (StatusCode.FAILED_PRECONDITION, 412, False),
        (StatusCode.OUT_OF_RANGE, 413, False),
        (StatusCode.UNIMPLEMENTED, 501, False),
        (StatusCode.RESOURCE_EXHAUSTED, 429, True),
        (StatusCode.INTERNAL, 500, True),
        (StatusCode.UNKNOWN, 500, True),
        (StatusCode.CANCELLED, 503, True),
        (StatusCode.UNAVAILABLE, 503, True),
        (StatusCode.DEADLINE_EXCEEDED, 504, True),
    ],
)
def test_a_code_is_the_status_that_rest_would_have(code: StatusCode, status: int, passing: bool, port: Port) -> None:
    url = f"{NOWHERE}?grpc={port.number}"
    port.faults = [Fault("^List$", status=code.name, details="line one\nline two", times=2)]
    with pytest.raises(ServerError, match="line one line two") as caught:
        collections(url)
    assert (caught.value.status, caught.value.passing) == (status, passing)
    assert caught.value.reason == "line one line two"
    assert ("check QDRANT_API_KEY" in str(caught.value)) == (status in (401, 403))
    if passing:
        assert collections(url, retry_seconds=10.0) == []
    else:
        with pytest.raises(ServerError):
            collections(url, retry_seconds=10.0)
    assert port.calls["List"] == (3 if passing else 2)


def test_a_wait_that_is_asked_for_is_kept(port: Port, writer: QdrantWriter) -> None:
    port.faults = [Fault("Upsert", status="RESOURCE_EXHAUSTED", retry_after="1")]
    start = time.monotonic()
    assert writer.write(POINTS) == []
    assert time.monotonic() - start >= 1
    port.faults = [Fault("Upsert", status="RESOURCE_EXHAUSTED", retry_after="3600")]
    with pytest.raises(CbirError, match="answered 429"):
        writer.write(POINTS)
    assert time.monotonic() - start < 5, "it waited though the wait is longer than the budget"


def test_a_bad_point_is_found_by_halving(port: Port, writer: QdrantWriter) -> None:
    port.engine.behaviour = replace(port.engine.behaviour, poisoned=[POINTS[7].id])
    (refused,) = writer.write(POINTS)
    assert (refused.id, "is poisoned" in refused.reason) == (POINTS[7].id, True)
    (odd,) = writer.write([replace(POINTS[7], id=POINTS[8].id, vector=np.ones(5, np.float32))])
    assert odd.id == POINTS[8].id
    port.faults = [Fault("Upsert", status="OUT_OF_RANGE", details="decoded message length too large")]
    assert writer.write(POINTS[8:]) == []


def test_a_port_that_takes_little_gets_little_at_a_time() -> None:
    with grpc_port(receives=20_000) as port:
        big = [replace(point, thumbnail=bytes(3000)) for point in POINTS[:6]]
        big[4] = replace(big[4], thumbnail=bytes(30_000))
        (refused,) = writer_at(f"{NOWHERE}?grpc={port.number}").write(big)
    assert (refused.id, "larger than max" in refused.reason) == (POINTS[4].id, True)


def test_a_large_request_passes(writer: QdrantWriter) -> None:
    large = replace(POINTS[0], thumbnail=bytes(23_000_000))
    assert writer.write([large]) == []
    assert [thumbnail for _, thumbnail in writer.thumbnails()] == [large.thumbnail]


def test_a_server_that_is_away_for_a_moment(port: Port, writer: QdrantWriter, caplog: pytest.LogCaptureFixture) -> None:
    port.faults = [Fault("Upsert", status="UNAVAILABLE", details="Connection refused", times=2)]
    assert writer.write(POINTS) == []
    assert f"{NOWHERE} cannot be reached: Connection refused; is it running?; trying again" in caplog.text


def test_a_server_that_is_slow_is_given_up_in_time(port: Port) -> None:
    server = Server(parse(f"{NOWHERE}?grpc={port.number}"), Settings(server_timeout_seconds=1), 0.0)
    server.ask(lambda client: client.get_collections())
    with port.engine.lock:
        start = time.monotonic()
        with pytest.raises(ServerError, match="answered 504 DEADLINE_EXCEEDED"):
            server.ask(lambda client: client.get_collections())
        assert 0.9 < time.monotonic() - start < 3


# Keys and certificates


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
    certificate: tuple[Path, Path], rest_with_tls: str, caplog: pytest.LogCaptureFixture
) -> None:
    chain, key = certificate
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), chain.read_bytes())])
    with grpc_port(credentials=credentials) as port:
        assert collections(f"{rest_with_tls}?grpc={port.number}", server_ca=chain) == []
        assert port.calls["List"] == 1
        assert collections(rest_with_tls, server_ca=chain) == [], "REST trusts it, too"
        start = time.monotonic()
        with pytest.raises(ServerError, match=r"cannot be trusted: .*CERTIFICATE_VERIFY_FAILED.*CBIR_SERVER_CA"):
            collections(f"{rest_with_tls}?grpc={port.number}", retry_seconds=20.0)
        assert time.monotonic() - start < 5, "it was asked again"
        assert port.calls["List"] == 1
    assert "so REST is used" in caplog.text


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_that_is_no_authority_is_refused(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    if content:
        path.write_text(content)
    with pytest.raises(UsageError, match=f"CBIR_SERVER_CA: {path} holds no certificate: "):
        Server(parse("https://localhost:6333"), Settings(server_ca=path))
