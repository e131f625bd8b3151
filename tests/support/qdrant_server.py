"""A Qdrant server for tests: the REST calls that cbir makes, answered by the client's own local mode.

    python -m tests.support.qdrant_server --port 0 --api-key KEY --storage DIR    prints its port, serves until killed

It refuses what the real server refuses. POST /_configure sets its behaviour, GET /_stats returns what was requested.
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

from tests.support.faults import Fault, take_fault

ROOT = Path(__file__).parents[2]
BODY_LIMIT = 32 * 2**20


@dataclass(frozen=True)
class Behaviour:
    """How the server behaves.

    Attributes:
        faults: Faults, in the order in which they are tried.
        poisoned: Ids of points that it refuses.
        body_limit: Its limit for a request's body, in bytes.
        refuse_seconds: It stops listening for so long.
    """

    faults: Sequence[Fault] = ()
    poisoned: Sequence[str] = ()
    body_limit: int = BODY_LIMIT
    refuse_seconds: float = 0.0


@dataclass
class Stats:
    """Requests since the server started, by "METHOD path"; points written and deleted; bytes of the largest body."""

    requests: dict[str, int] = field(default_factory=dict)
    written: int = 0
    deleted: int = 0
    largest_body: int = 0


@dataclass(frozen=True)
class Running:
    """A handle on a running server."""

    url: str
    pid: int

    def configure(self, **behaviour: Any) -> None:
        """Set the server's behaviour (see `Behaviour`); without arguments, reset it."""
        httpx.post(f"{self.url}/_configure", content=to_json(Behaviour(**behaviour))).raise_for_status()

    def inject(self, match: str = "", **fault: Any) -> None:
        """Inject one fault (see `Fault`) and reset everything else."""
        self.configure(faults=(Fault(match, **fault),))

    def stop_listening(self, seconds: float) -> None:
        """Close the port for so many seconds; return when it is closed."""
        self.configure(refuse_seconds=seconds)
        while True:
            try:
                httpx.get(f"{self.url}/_stats")
            except httpx.ConnectError:
                return
            except httpx.ReadError:  # accepted just before the listener closed
                continue

    def stats(self) -> Stats:
        """Return the statistics so far."""
        return TypeAdapter(Stats).validate_json(httpx.get(f"{self.url}/_stats").content)

    def client(self, api_key: str | None = None) -> QdrantClient:
        """Return a new client of the server."""
        return QdrantClient(url=self.url, api_key=api_key, check_compatibility=False)


@contextmanager
def qdrant_server(api_key: str | None = None, storage: Path | None = None) -> Iterator[Running]:
    """Run a server in another process."""
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
    """A request that the server refuses."""

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status = status


class Engine:
    """The client's local mode under a lock, with collection parameters and payload indexes, which it lacks."""

    def __init__(self, storage: Path | None):
        place = {"path": str(storage)} if storage else {"location": ":memory:"}
        self.client = QdrantClient(**place, force_disable_check_same_thread=True)
        self.stats = Stats()
        self.behaviour = Behaviour()
        self.lock = threading.RLock()
        self._created: dict[str, models.CreateCollection] = {}
        self._indexes: dict[str, dict[str, models.PayloadIndexInfo]] = {}

    def create(self, name: str, body: models.CreateCollection) -> object:
        done = self.client.create_collection(name, vectors_config=body.vectors, metadata=body.metadata)
        self._created[name], self._indexes[name] = body, {}
        return done

    def info(self, name: str) -> object:
        found = self.client.get_collection(name)
        aliases = {alias.alias_name: alias.collection_name for alias in self.client.get_aliases().aliases}
        real = aliases.get(name, name)
        found.payload_schema = self._indexes.get(real, {})
        created = self._created.get(real)
        if created is not None:
            config = found.config
            for name_ in ("shard_number", "replication_factor", "write_consistency_factor", "on_disk_payload"):
                setattr(config.params, name_, getattr(created, name_))
            config.quantization_config = created.quantization_config
            for name_, value in (created.hnsw_config or models.HnswConfigDiff()).model_dump(exclude_none=True).items():
                setattr(config.hnsw_config, name_, value)
        return found

    def index(self, name: str, body: models.CreateFieldIndex) -> object:
        done = self.client.create_payload_index(name, body.field_name, body.field_schema)
        field = body.field_name.strip('"')  # quotation marks only where the name needs them
        path = field if re.fullmatch(r"[A-Za-z0-9_-]+", field) else body.field_name
        self._indexes.setdefault(name, {})[path] = models.PayloadIndexInfo(data_type=body.field_schema, points=0)
        return done

    def upsert(self, name: str, body: models.PointsList) -> object:
        ids = [str(point.id) for point in body.points]
        for point_id in ids:
            if point_id in self.behaviour.poisoned:
                raise RefusedError(400, f"Wrong input: the point {point_id} is poisoned")
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
# The routes: method, path, type of the body, handler.
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
    """Handles one request: first the configured fault, then the request itself."""

    protocol_version = "HTTP/1.1"
    engine: Engine
    api_key: str | None
    server: ThreadingHTTPServer

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        engine = self.engine
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        if path == "/_stats":
            return self._send(200, to_json(engine.stats))
        if path == "/_configure":
            return self._configure(TypeAdapter(Behaviour).validate_json(body))
        with engine.lock:
            route = f"{self.command} {re.sub('(?<=/collections/)(?!aliases)[^/]+', '{}', path)}"
            engine.stats.requests[route] = engine.stats.requests.get(route, 0) + 1
            engine.stats.largest_body = max(engine.stats.largest_body, len(body))
            fault, left = take_fault(engine.behaviour.faults, f"{self.command} {path}")
            engine.behaviour = replace(engine.behaviour, faults=left)
        time.sleep(fault.seconds)
        status, answer = self._answer(path, body, fault)
        return self._send(status, answer, fault)

    do_PUT = do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def _answer(self, path: str, body: bytes, fault: Fault) -> tuple[int, bytes]:
        try:
            if fault.status:
                raise RefusedError(int(fault.status), fault.details)
            if self.api_key is not None and self.headers.get("api-key") != self.api_key:
                raise RefusedError(401, "Must provide an API key or an Authorization bearer token")
            limit = self.engine.behaviour.body_limit
            if len(body) > limit:
                # Qdrant answers so; a proxy in front of it would answer 413
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
                    content = TypeAdapter(kind).validate_json(body) if kind else None
                    with self.engine.lock:
                        return call(self.engine, httpx.URL(f"/{''.join(found.groups())}").path[1:], content)
                except ValidationError as error:
                    raise RefusedError(400, f"Format error in JSON body: {error.errors()[0]['msg']}") from None
                except ValueError as error:
                    text = str(error)
                    status = 404 if "not found" in text else 409 if "already exists" in text else 400
                    raise RefusedError(status, f"Wrong input: {text}") from None
        raise RefusedError(404, f"{self.command} {path}: unknown route")

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

    def _configure(self, behaviour: Behaviour) -> None:
        self.engine.behaviour = behaviour
        self._send(200, b"{}")
        if behaviour.refuse_seconds:
            self.server.shutdown()


class Listener(ThreadingHTTPServer):
    """A listener with room for many connections at once, so that none is refused."""

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
        time.sleep(handler.engine.behaviour.refuse_seconds)  # type: ignore[attr-defined]


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
    parser.add_argument("--parent", type=int, help="id of the process that started this one; end when it ends")
    given = parser.parse_args()
    if given.parent:
        threading.Thread(target=_end_with, args=(given.parent,), daemon=True).start()
    serve(given.port, given.api_key, given.storage)


if __name__ == "__main__":
    main()
