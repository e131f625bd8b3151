"""A `cbir-serve` in a process of its own, and requests to it, well-formed and other."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import uvicorn
from cbir.serve.app import create_app
from cbir.serve.connection import TimedConnection
from cbir.serve.settings import ServeSettings

from tests.support.browser import free_port


@contextmanager
def serving(*stores: str, **settings: Any) -> Iterator[str]:
    """Yield the address of a server in a thread of this process."""
    app = create_app(ServeSettings(_env_file=None, stores=stores, **settings))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", ws="none", http=TimedConnection))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(60)


@dataclass
class RunningServer:
    """A server that is ready."""

    url: str
    port: int
    process: "subprocess.Popen[str]"
    log: Path

    def written(self) -> str:
        """Return what it has written on standard error."""
        return self.log.read_text()


@contextmanager
def running(arguments: Sequence[str], **environment: str) -> Iterator[RunningServer]:
    """Yield a server that is ready."""
    port = free_port()
    command = [sys.executable, "-m", "cbir.serve.command", "run", "--port", str(port), *arguments]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("w") as file:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **environment},
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )
        try:
            _wait(f"http://localhost:{port}/readyz", process, log)
            yield RunningServer(f"http://localhost:{port}", port, process, log)
        finally:
            process.kill()
            process.communicate()


def _wait(url: str, process: "subprocess.Popen[str]", log: Path) -> None:
    for _ in range(1200):
        try:
            urlopen(url, timeout=30).close()  # noqa: S310
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
    raise AssertionError(f"{url} is not ready")


def post(url: str, body: object, **headers: str) -> tuple[int, dict[str, Any]]:
    """Return the status and the JSON of an answer."""
    request = Request(url, json.dumps(body).encode(), {"content-type": "application/json", **headers})  # noqa: S310
    with urlopen(request, timeout=60) as answer:  # noqa: S310
        return answer.status, json.load(answer)


def get(url: str, **headers: str) -> str:
    """Return the text of an answer."""
    with urlopen(Request(url, headers=headers), timeout=60) as answer:  # noqa: S310
        return str(answer.read().decode())


def raw(port: int, data: bytes, wait: float = 10.0) -> bytes:
    """Return what a server answers to some bytes, until it closes the connection or is silent for `wait` seconds."""
    answer = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                answer += part
        except OSError:  # it was closed while we were still sending
            pass
    return bytes(answer)
