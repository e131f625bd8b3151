"""A Qdrant server for tests: the REST calls that cbir makes, answered by the client's own local mode.

    python -m tests.support.qdrant_server --port 0 --api-key KEY --storage DIR    prints its port, serves until killed

What it refuses, it refuses as the real one does. Faults are ordered by POST /_order, GET /_stats tells what was asked.
"""

import argparse
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json
from qdrant_client import QdrantClient
from qdrant_client.http import models

ROOT = Path(__file__).parents[2]
BODY_LIMIT = 32 * 2**20


@dataclass(frozen=True)
class Fault:
    """What happens to the next requests whose "METHOD /path" the pattern is found in.

    Attributes:
        match: The pattern.
        times: How many requests; -1 for all that come.
        seconds: The answer comes so much later.
        status: Answered with this, and nothing is done; 0 for none.
        retry_after: The header, "" for none.
        update: An update is done, but answered with this status instead of "completed".
        reset: The request is done, and the connection breaks in the middle of the answer.
    """

    match: str = ""
    times: int = 1
    seconds: float = 0.0
    status: int = 0
    retry_after: str = ""
    update: str = ""
    reset: bool = False


@dataclass(frozen=True)
class Orders:
    """What the server is told: faults in the order they are tried, ids that it refuses, its limit of a body."""

    faults: Sequence[Fault] = ()
    poisoned: Sequence[str] = ()
    body_limit: int = BODY_LIMIT
    refuse_seconds: float = 0.0


@dataclass
class Stats:
    """What the server was asked since it started: requests by "METHOD path", points written, bytes of a body."""

    requests: dict[str, int] = field(default_factory=dict)
    written: int = 0
    deleted: int = 0
    largest_body: int = 0


@dataclass(frozen=True)
class Running:
    """A running server, as a test sees it."""

    url: str
    pid: int

    def order(self, **orders: Any) -> None:
        """Replace all orders (see `Orders`); none: all is well again."""
        httpx.post(f"{self.url}/_order", content=to_json(Orders(**orders))).raise_for_status()

    def fault(self, match: str = "", **what: Any) -> None:
        """Order one fault (see `Fault`), and nothing else."""
        self.order(faults=(Fault(match, **what),))

    def refuse(self, seconds: float) -> None:
        """Do not listen for so long; returns when nobody listens."""
        self.order(refuse_seconds=seconds)
        while True:
            try:
                httpx.get(f"{self.url}/_stats")
            except httpx.ConnectError:
                return
            except httpx.ReadError:  # accepted just before the listener closed
                continue

    def stats(self) -> Stats:
        """Return what was asked so far."""
        return TypeAdapter(Stats).validate_json(httpx.get(f"{self.url}/_stats").content)

    def client(self, api_key: str | None = None) -> QdrantClient:
        """Return a client of its own."""
        return QdrantClient(url=self.url, api_key=api_key, check_compatibility=False)


@contextmanager
def qdrant_server(api_key: str | None = None, storage: Path | None = None) -> Iterator[Running]:
    """Run a server in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.support.qdrant_server", "--parent", str(os.getpid())]
    command += ["--api-key", api_key] if api_key else []
    command += ["--storage", str(storage)] if storage else []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Running(f"http://127.0.0.1:{int(process.stdout.readline())}", process.pid)
        finally:
            process.kill()


class RefusedError(Exception):
    """A request that the server does not carry out."""

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status = status


class Engine:
    """The local mode, under a lock, with what it leaves out: collection parameters and payload indexes."""

    def __init__(self, storage: Path | None):
        place = {"path": str(storage)} if storage else {"location": ":memory:"}
        self.client = QdrantClient(**place, force_disable_check_same_thread=True)
        self.stats = Stats()
        self.orders = Orders()
        self.lock = threading.RLock()
        self._created: dict[str, models.CreateCollection] = {}
        self._indexes: dict[str, dict[str, models.PayloadIndexInfo]] = {}

    def create(self, name: str, body: models.CreateCollection) -> object:
        done = self.client.create_collection(name, vectors_config=body.vectors, metadata=body.metadata)
        self._created[name], self._indexes[name] = body, {}
        return done

    def info(self, name: str) -> object:
        found = self.client.get_collection(name)
        real = {one.alias_name: one.collection_name for one in self.client.get_aliases().aliases}.get(name, name)
        found.payload_schema = self._indexes.get(real, {})
        asked = self._created.get(real)
        if asked is not None:
            config = found.config
            for name_ in ("shard_number", "replication_factor", "write_consistency_factor", "on_disk_payload"):
                setattr(config.params, name_, getattr(asked, name_))
            config.quantization_config = asked.quantization_config
            for name_, value in (asked.hnsw_config or models.HnswConfigDiff()).model_dump(exclude_none=True).items():
                setattr(config.hnsw_config, name_, value)
        return found

    def index(self, name: str, body: models.CreateFieldIndex) -> object:
        done = self.client.create_payload_index(name, body.field_name, body.field_schema)
        field = body.field_name.strip('"')  # written so only where it has to be
        path = field if re.fullmatch(r"[A-Za-z0-9_-]+", field) else body.field_name
        self._indexes.setdefault(name, {})[path] = models.PayloadIndexInfo(data_type=body.field_schema, points=0)
        return done

    def upsert(self, name: str, body: models.PointsList) -> object:
        ids = [str(point.id) for point in body.points]
        for one in ids:
            if one in self.orders.poisoned:
                raise RefusedError(400, f"Wrong input: the point {one} is poisoned")
        done = self.client.upsert(name, body.points)
        self.stats.written += len(ids)
        return done

    def delete(self, name: str, body: models.PointIdsList) -> object:
        self.stats.deleted += len(body.points)
        return self.client.delete(name, body)

    def scroll(self, name: str, body: models.ScrollRequest) -> object:
        points, following = self.client.scroll(
            name,
            scroll_filter=body.filter,
            limit=body.limit or 10,
            offset=body.offset,
            with_payload=True if body.with_payload is None else body.with_payload,
            with_vectors=body.with_vector or False,
        )
        return {"points": points, "next_page_offset": following}

    def retrieve(self, name: str, body: models.PointRequest) -> object:
        payload = True if body.with_payload is None else body.with_payload
        return self.client.retrieve(name, body.ids, with_payload=payload, with_vectors=body.with_vector or False)

    def queries(self, name: str, body: models.QueryRequestBatch) -> object:
        return self.client.query_batch_points(name, body.searches)

    def facet(self, name: str, body: models.FacetRequest) -> object:
        if body.key not in self._indexes.get(name, {}):
            raise RefusedError(400, f"Bad request: No appropriate index for faceting: `{body.key}`")
        return self.client.facet(name, body.key, facet_filter=body.filter, limit=body.limit or 10)


Call = Callable[[Engine, str, Any], object]
# What it answers to: method, path, type of the body, what is done.
_ROUTES: Sequence[tuple[str, str, Any, Call]] = [
    ("GET", "/collections", None, lambda engine, _, __: engine.client.get_collections()),
    ("POST", "/collections/aliases", models.ChangeAliasesOperation,
     lambda engine, _, body: engine.client.update_collection_aliases(body.actions)),
    ("GET", "/aliases", None, lambda engine, _, __: engine.client.get_aliases()),
    ("GET", "/collections/{}/aliases", None, lambda engine, name, _: engine.client.get_collection_aliases(name)),
    ("GET", "/collections/{}/exists", None,
     lambda engine, name, _: {"exists": engine.client.collection_exists(name)}),
    ("GET", "/collections/{}", None, lambda engine, name, _: engine.info(name)),
    ("PUT", "/collections/{}", models.CreateCollection, Engine.create),
    ("PATCH", "/collections/{}", models.UpdateCollection,
     lambda engine, name, body: engine.client.update_collection(name, metadata=body.metadata)),
    ("DELETE", "/collections/{}", None, lambda engine, name, _: engine.client.delete_collection(name)),
    ("PUT", "/collections/{}/index", models.CreateFieldIndex, Engine.index),
    ("PUT", "/collections/{}/points", models.PointsList, Engine.upsert),
    ("POST", "/collections/{}/points", models.PointRequest, Engine.retrieve),
    ("POST", "/collections/{}/points/batch", models.UpdateOperations,
     lambda engine, name, body: engine.client.batch_update_points(name, body.operations)),
    ("POST", "/collections/{}/points/delete", models.PointIdsList, Engine.delete),
    ("POST", "/collections/{}/points/scroll", models.ScrollRequest, Engine.scroll),
    ("POST", "/collections/{}/points/count", models.CountRequest,
     lambda engine, name, body: engine.client.count(name, count_filter=body.filter)),
    ("POST", "/collections/{}/points/query", models.QueryRequest,
     lambda engine, name, body: engine.client.query_batch_points(name, [body])[0]),
    ("POST", "/collections/{}/points/query/batch", models.QueryRequestBatch, Engine.queries),
    ("POST", "/collections/{}/facet", models.FacetRequest, Engine.facet),
]  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    """One request: what is ordered, then what is asked."""

    protocol_version = "HTTP/1.1"
    engine: Engine
    api_key: str | None
    server: ThreadingHTTPServer

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        engine = self.engine
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        if path == "/_stats":
            return self._send(200, to_json(engine.stats))
        if path == "/_order":
            return self._obey(TypeAdapter(Orders).validate_json(body))
        with engine.lock:
            asked = f"{self.command} {re.sub('(?<=/collections/)(?!aliases)[^/]+', '{}', path)}"
            engine.stats.requests[asked] = engine.stats.requests.get(asked, 0) + 1
            engine.stats.largest_body = max(engine.stats.largest_body, len(body))
            fault = self._fault(path)
        time.sleep(fault.seconds)
        status, answer = self._answer(path, body, fault)
        return self._send(status, answer, fault)

    do_PUT = do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def _fault(self, path: str) -> Fault:
        """Return what happens to this request, and count it."""
        faults = list(self.engine.orders.faults)
        for at, fault in enumerate(faults):
            if fault.times and re.search(fault.match, f"{self.command} {path}"):
                faults[at] = replace(fault, times=fault.times - 1)
                self.engine.orders = replace(self.engine.orders, faults=tuple(faults))
                return fault
        return Fault()

    def _answer(self, path: str, body: bytes, fault: Fault) -> tuple[int, bytes]:
        try:
            if fault.status:
                raise RefusedError(fault.status, "as ordered")
            if self.api_key is not None and self.headers.get("api-key") != self.api_key:
                raise RefusedError(401, "Must provide an API key or an Authorization bearer token")
            limit = self.engine.orders.body_limit
            if len(body) > limit:
                # 400 and these words; what stands in front of a server says 413
                raise RefusedError(
                    400, f"Payload error: JSON payload ({len(body)} bytes) is larger than allowed ({limit})."
                )
            result = self._result(path, body)
        except RefusedError as error:
            return error.status, to_json({"status": {"error": str(error)}, "time": 0.0})
        if fault.update:
            result = {"operation_id": 1, "status": fault.update}
        return 200, to_json({"result": result, "status": "ok", "time": 0.0}, by_alias=True)

    def _result(self, path: str, body: bytes) -> object:
        for method, template, kind, call in _ROUTES:
            found = re.fullmatch(template.replace("{}", "([^/]+)"), path)
            if method == self.command and found:
                try:
                    asked = TypeAdapter(kind).validate_json(body) if kind else None
                    with self.engine.lock:
                        return call(self.engine, httpx.URL(f"/{''.join(found.groups())}").path[1:], asked)
                except ValidationError as error:
                    raise RefusedError(400, f"Format error in JSON body: {error.errors()[0]['msg']}") from None
                except ValueError as error:
                    text = str(error)
                    status = 404 if "not found" in text else 409 if "already exists" in text else 400
                    raise RefusedError(status, f"Wrong input: {text}") from None
        raise RefusedError(404, f"{self.command} {path} is nothing that this server knows")

    def _send(self, status: int, content: bytes, fault: Fault | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if fault and fault.retry_after:
            self.send_header("Retry-After", fault.retry_after)
        self.end_headers()
        if fault and fault.reset:
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        try:
            self.wfile.write(content)
        except OSError:  # the client was killed
            self.close_connection = True

    def _obey(self, orders: Orders) -> None:
        self.engine.orders = orders
        self._send(200, b"{}")
        if orders.refuse_seconds:
            self.server.shutdown()


class Listener(ThreadingHTTPServer):
    """Many connections at once, none refused by chance."""

    request_queue_size = 128
    daemon_threads = True


def serve(port: int, api_key: str | None, storage: Path | None) -> None:
    """Serve until killed."""
    handler = type("Bound", (Handler,), {"engine": Engine(storage), "api_key": api_key})
    announced = False
    while True:
        with Listener(("127.0.0.1", port), handler) as listener:
            port = listener.server_port
            if not announced:
                sys.stdout.write(f"{port}\n")
                sys.stdout.flush()
                announced = True
            listener.serve_forever(poll_interval=0.02)
        time.sleep(handler.engine.orders.refuse_seconds)  # type: ignore[attr-defined]


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--api-key")
    parser.add_argument("--storage", type=Path)
    parser.add_argument("--parent", type=int, help="end when the process with this id, which started this one, is gone")
    given = parser.parse_args()
    if given.parent:
        threading.Thread(target=_end_with, args=(given.parent,), daemon=True).start()
    serve(given.port, given.api_key, given.storage)


if __name__ == "__main__":
    main()
