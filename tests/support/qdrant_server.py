"""A Qdrant server for tests: REST, answered by `tests.support.qdrant_engine`.

    python -m tests.support.qdrant_server --port 0 --api-key KEY    prints its port, serves until killed

It refuses what the real server refuses. POST /_configure sets its behaviour, GET /_stats returns what was requested.
"""

import argparse
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_json
from qdrant_client import QdrantClient
from qdrant_client.http import models

from tests.support.faults import Fault, take_fault
from tests.support.qdrant_engine import Behaviour, Engine, RefusedError, Stats, require_paths, status_of

ROOT = Path(__file__).parents[2]


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

    def stop_listening(self) -> None:
        """Close the port; return when it is closed."""
        self.configure(refusing=True)
        while self._listens():
            continue

    def listen(self) -> None:
        """Open the port again; return when it is open."""
        os.kill(self.pid, signal.SIGUSR1)
        while not self._listens():
            continue

    def _listens(self) -> bool:
        try:
            httpx.get(f"{self.url}/_stats")
        except httpx.ConnectError:
            return False
        except httpx.ReadError:  # accepted just before the listener closed
            return True
        return True

    def stats(self) -> Stats:
        """Return the statistics so far."""
        return TypeAdapter(Stats).validate_json(httpx.get(f"{self.url}/_stats").content)

    def client(self, api_key: str | None = None) -> QdrantClient:
        """Return a new client of the server."""
        return QdrantClient(url=self.url, api_key=api_key, check_compatibility=False)


@contextmanager
def qdrant_server(api_key: str | None = None) -> Iterator[Running]:
    """Run a server in another process."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.support.qdrant_server", "--parent", str(os.getpid())]
    command += ["--api-key", api_key] if api_key else []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Running(f"http://127.0.0.1:{int(process.stdout.readline())}", process.pid)
        finally:
            process.kill()


Call = Callable[[Engine, str, Any], object]
# The routes: method, path, type of the body, handler. A path's second part is given to the handler as the body.
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
    ("DELETE", "/collections/{}", None, lambda engine, name, _: engine.drop(name)),
    ("PUT", "/collections/{}/index", models.CreateFieldIndex, Engine.index),
    ("PUT", "/collections/{}/points", models.PointsList, Engine.upsert),
    ("POST", "/collections/{}/points", models.PointRequest, Engine.retrieve),
    ("GET", "/collections/{}/points/{}", None, Engine.point),
    ("POST", "/collections/{}/points/payload", models.SetPayload,
     lambda engine, name, body: engine.change(name, "set_payload", body)),
    ("PUT", "/collections/{}/points/payload", models.SetPayload,
     lambda engine, name, body: engine.change(name, "overwrite_payload", body)),
    ("POST", "/collections/{}/points/payload/delete", models.DeletePayload,
     lambda engine, name, body: engine.change(name, "delete_payload", body)),
    ("POST", "/collections/{}/points/batch", models.UpdateOperations, Engine.batch),
    ("POST", "/collections/{}/points/delete", models.PointIdsList | models.FilterSelector, Engine.delete),
    ("POST", "/collections/{}/points/scroll", models.ScrollRequest, Engine.scroll),
    ("POST", "/collections/{}/points/count", models.CountRequest, Engine.count),
    ("POST", "/collections/{}/points/query", models.QueryRequest,
     lambda engine, name, body: engine.query(name, models.QueryRequestBatch(searches=[body]))[0]),
    ("POST", "/collections/{}/points/query/batch", models.QueryRequestBatch, Engine.query),
    ("POST", "/collections/{}/points/query/groups", models.QueryGroupsRequest, Engine.groups),
    ("POST", "/collections/{}/facet", models.FacetRequest, Engine.facet),
]  # fmt: skip
# Answered without a key.
_TITLE = {
    "title": "qdrant - vector search engine",
    "version": "1.18.3",
    "commit": "db8fa43fcb6aedec1e739487e17a99731b74590a",
}
_OPEN = {
    "/": to_json(_TITLE),
    "/readyz": b"all shards are ready",
    "/livez": b"healthz check passed",
    "/healthz": b"healthz check passed",
}


def _refuse_constant(text: str) -> None:
    raise ValueError(f"expected value, not {text}")


def _plain(value: Any) -> Any:
    """Return JSON; what an answer has not, it leaves out, but a payload keeps its nulls."""
    if isinstance(value, BaseModel):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        return {name: _plain(inner) for name, inner in fields.items() if inner is not None}
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


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
            if path in _OPEN:
                return 200, _OPEN[path]
            refusal = self._refusal(path)
            if refusal:
                return 401, refusal
            limit = self.engine.behaviour.body_limit
            if len(body) > limit:
                # Qdrant answers so; a proxy in front of it would answer 413
                raise RefusedError(
                    400, f"Payload error: JSON payload ({len(body)} bytes) is larger than allowed ({limit})."
                )
            result = self._result(path, body)
        except RefusedError as error:
            return error.status, to_json({"status": {"error": str(error)}, "time": 0.0}) if str(error) else b""
        if fault.update:
            result = {"operation_id": 1, "status": fault.update}
        return 200, to_json({"result": _plain(result), "status": "ok", "time": 0.0})

    def _refusal(self, path: str) -> bytes:
        """Return the answer to a request with a wrong key, or with none."""
        key, reader = self.headers.get("api-key"), self.engine.behaviour.read_only
        if self.api_key is None or key == self.api_key:
            return b""
        if key is None:
            return b"Must provide an API key or an Authorization bearer token"
        if not reader or key != reader:
            return b"Invalid API key or JWT"
        changes = re.search("aliases$|delete$|payload$|points/batch$", path)
        if self.command in ("PUT", "PATCH", "DELETE") or (self.command == "POST" and changes):
            raise RefusedError(403, "Forbidden: Global manage access is required")
        return b""

    def _result(self, path: str, body: bytes) -> object:
        for method, template, kind, call in _ROUTES:
            found = re.fullmatch(template.replace("{}", "([^/]+)"), path)
            if method == self.command and found:
                name, *rest = [unquote(part) for part in found.groups()] or [""]
                try:
                    if kind:
                        require_paths(json.loads(body, parse_constant=_refuse_constant))
                    content = TypeAdapter(kind).validate_json(body) if kind else "".join(rest)
                    with self.engine.lock:
                        self.engine.enter(name)
                        if call is Engine.upsert:
                            return self.engine.upsert(name, content, wait="wait=true" in self.path)
                        return call(self.engine, name, content)
                except ValidationError as error:
                    raise RefusedError(400, f"Format error in JSON body: {error.errors()[0]['msg']}") from None
                except (ValueError, KeyError) as error:
                    raise RefusedError(status_of(error), f"Wrong input: {error}") from None
        raise RefusedError(404, "")

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
        if behaviour.refusing:
            self.server.shutdown()


class Listener(ThreadingHTTPServer):
    """A listener with room for many connections at once, so that none is refused."""

    request_queue_size = 128
    daemon_threads = True


def serve(port: int, api_key: str | None) -> None:
    """Serve until killed."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    handler = type("Bound", (Handler,), {"engine": Engine(), "api_key": api_key})
    announced = False
    while True:
        with Listener(("127.0.0.1", port), handler) as listener:
            port = listener.server_port
            if not announced:
                sys.stdout.write(f"{port}\n")
                sys.stdout.flush()
                announced = True
            listener.serve_forever(poll_interval=0.02)
        signal.sigwait({signal.SIGUSR1})


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--api-key")
    parser.add_argument("--parent", type=int, help="id of the process that started this one; end when it ends")
    given = parser.parse_args()
    if given.parent:
        threading.Thread(target=_end_with, args=(given.parent,), daemon=True).start()
    serve(given.port, given.api_key)


if __name__ == "__main__":
    main()
