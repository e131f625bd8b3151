"""Requests to a server: what is tried again, for how long, and the one line that says what failed."""

import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Barrier

import pytest
from grpc import StatusCode
from qdrant_client import QdrantClient

import cbir.stores.qdrant.records
import cbir.stores.qdrant.writer
from cbir.errors import CbirError, UsageError
from cbir.index.generation import Plan
from cbir.settings import Settings
from cbir.stores.qdrant.server import Server, ServerError, server_options
from cbir.stores.qdrant.writer import QdrantWriter
from cbir.stores.registry import connect
from cbir.stores.url import parse
from tests.support.faults import Fault
from tests.support.grpc_server import Port
from tests.support.qdrant_points import NOWHERE, POINTS, UPSERT, Clock, OpenWriter, collections, held, same
from tests.support.qdrant_server import Running

pytestmark = [
    # What the modules filter, where pytest resets the filters.
    pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection"),
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
]


@pytest.mark.parametrize(
    "fault",
    [
        *(Fault(UPSERT, status=status) for status in (408, 429, 500, 502, 503, 504)),
        Fault(UPSERT, times=3, status=503),
        Fault(UPSERT, times=2, reset=True),
        Fault(UPSERT, times=2, update="wait_timeout"),
        Fault(UPSERT, update="acknowledged"),
        Fault(UPSERT, status=429, retry_after="soon"),
        Fault(UPSERT, times=2, status=503, retry_after="0"),
    ],
    ids=lambda fault: f"{fault.times}x{fault.status or fault.update or 'reset'}{fault.retry_after}",
)
def test_a_fault_that_passes_loses_nothing(fault: Fault, server: Running, plan: Plan, open_writer: OpenWriter) -> None:
    writer = open_writer()
    server.configure(faults=[fault])
    before = server.stats().requests.get("PUT /collections/{}/points", 0)
    assert writer.write(POINTS) == []
    assert server.stats().requests["PUT /collections/{}/points"] == before + fault.times + 1
    assert same(held(server, plan), POINTS)


def test_a_server_that_is_away_for_a_moment(
    server: Running,
    plan: Plan,
    open_writer: OpenWriter,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    writer = open_writer()
    writer.write(POINTS[:10])
    server.stop_listening()
    monkeypatch.setattr(clock, "sleep", lambda seconds: server.listen())
    assert writer.write(POINTS[10:]) == []
    assert same(held(server, plan), POINTS)
    (told,) = (record.getMessage() for record in caplog.records if "trying again" in record.getMessage())
    assert f"{server.url} cannot be reached" in told


def test_a_server_that_hangs_is_asked_again(
    server: Running, plan: Plan, open_writer: OpenWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cbir.stores.qdrant.writer, "_TIMEOUT_SECONDS", 1)
    writer = open_writer()
    server.inject(UPSERT, seconds=1.5)
    assert writer.write(POINTS) == []
    assert same(held(server, plan), POINTS)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_kept(status: int, server: Running, open_writer: OpenWriter, clock: Clock) -> None:
    writer = open_writer()
    server.inject(UPSERT, status=status, retry_after="1")
    assert writer.write(POINTS) == []
    assert clock.pauses == [1]
    server.inject(UPSERT, status=status, retry_after="3600")
    with pytest.raises(CbirError, match=f"answered {status}"):
        writer.write(POINTS)
    assert clock.pauses == [1], "it waited though the wait is longer than the budget"


def test_pauses_double_up_to_a_limit(server: Running, open_writer: OpenWriter, clock: Clock) -> None:
    writer = open_writer(budget=1000.0)
    server.inject(UPSERT, times=12, status=503)
    assert writer.write(POINTS) == []
    longest = [*(0.2 * 2**number for number in range(6)), *[10.0] * 6]
    assert len(clock.pauses) == len(longest)
    assert all(limit / 2 <= pause <= limit for pause, limit in zip(clock.pauses, longest, strict=True))


@pytest.mark.parametrize("fault", [{"status": 503}, {"reset": True}], ids=str)
def test_the_budget_ends(
    fault: dict[str, object], server: Running, plan: Plan, open_writer: OpenWriter, clock: Clock
) -> None:
    writer = open_writer(budget=1.0)
    writer.write(POINTS[:5])
    server.inject(UPSERT, times=-1, **fault)
    with pytest.raises(CbirError, match=f"the Qdrant server {server.url} "):
        writer.write(POINTS[5:10])
    assert sum(clock.pauses) == pytest.approx(1)
    server.configure()
    assert same(held(server, plan), POINTS[: 5 if "status" in fault else 10])


@pytest.mark.parametrize(("status", "hint"), [(401, "check QDRANT_API_KEY"), (403, "check QDRANT_API_KEY"), (404, "")])
def test_a_refusal_is_not_tried_again(status: int, hint: str, server: Running, open_writer: OpenWriter) -> None:
    writer = open_writer()
    server.inject(UPSERT, times=-1, status=status)
    before = server.stats().requests.get("PUT /collections/{}/points", 0)
    with pytest.raises(CbirError, match=f"answered {status} .*injected by the test.*{hint}"):
        writer.write(POINTS)
    assert server.stats().requests["PUT /collections/{}/points"] == before + 1


@pytest.mark.parametrize("text", ["<html>", "[]", '{"result": {"collections": 3}}'])
def test_what_is_no_qdrant_is_named(text: str) -> None:
    paths: list[str] = []

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as other:
        threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.02}).start()
        with pytest.raises(CbirError, match="does not answer as a Qdrant server does"):
            connect(f"http://127.0.0.1:{other.server_port}", Settings()).names()
        assert len(paths) == 1, "it was asked again"
        other.shutdown()


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?colour=red", "unknown option 'colour'; a server has shards, replicas, "),
        ("?shards=0", "shards: Input should be greater"),
        ("?m=many", "m: Input should be a valid integer"),
        ("?quantization=half", "quantization: Input should be 'scalar', 'product', 'binary' or 'turbo'"),
        ("?on_disk=perhaps", "on_disk: Input should be a valid boolean"),
        ("?api_key=secret", "unknown option 'api_key'"),
    ],
)
def test_a_wrong_option_is_refused(query: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        server_options(parse(f"http://me:secret@localhost:6333{query}"))
    assert "secret" not in str(caught.value)


def test_a_grpc_server_that_is_away_for_a_moment(
    port: Port, writer: QdrantWriter, caplog: pytest.LogCaptureFixture
) -> None:
    port.faults = [Fault("Upsert", status="UNAVAILABLE", details="Connection refused", times=2)]
    assert writer.write(POINTS) == []
    assert f"{NOWHERE} cannot be reached: Connection refused; is it running?; trying again" in caplog.text


@pytest.mark.parametrize("value", ["-1", "65536", "yes"])
def test_a_port_that_cannot_be_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match="grpc: Input should be"):
        server_options(parse(f"http://localhost?grpc={value}"))


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


def test_a_wait_that_is_asked_for_is_kept(port: Port, writer: QdrantWriter, clock: Clock) -> None:
    port.faults = [Fault("Upsert", status="RESOURCE_EXHAUSTED", retry_after="1")]
    assert writer.write(POINTS) == []
    assert clock.pauses == [1]
    port.faults = [Fault("Upsert", status="RESOURCE_EXHAUSTED", retry_after="3600")]
    with pytest.raises(CbirError, match="answered 429"):
        writer.write(POINTS)
    assert clock.pauses == [1], "it waited though the wait is longer than the budget"


def test_a_server_that_is_slow_is_given_up_in_time(port: Port) -> None:
    server = Server(parse(f"{NOWHERE}?grpc={port.number}"), Settings(server_timeout_seconds=5), 0.0)
    server.ask(lambda client: client.get_collections())
    with port.engine.lock, pytest.raises(ServerError, match="answered 504 DEADLINE_EXCEEDED"):
        server.ask(lambda client: client.get_collections())


def test_no_two_threads_share_a_client_of_rest(server: Running) -> None:
    opened, together = Server(parse(f"{server.url}?grpc=0"), Settings()), Barrier(3)

    def call(client: QdrantClient) -> int:
        together.wait()
        client.get_collections()
        return id(client)

    with ThreadPoolExecutor(3) as pool:
        used = {future.result() for future in [pool.submit(opened.ask, call) for _ in range(3)]}
    assert len(used) == 3
    assert {opened.ask(id) for _ in range(5)} <= used
