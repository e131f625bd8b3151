"""A server in a process of its own, from its start until it is ready, and until it is stopped."""

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

from cbir.errors import CbirError

_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class Started:
    """A server that is ready, and how long that took."""

    port: int
    ready_seconds: float


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def started(module: str, arguments: Sequence[str], port: int) -> Iterator[Started]:
    """Start a module as a server, and yield it when it is ready; `CbirError` if it ends before that."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        start = time.perf_counter()
        with log.open("w") as file:
            environment = {**os.environ, "CBIR_READ_KEYS": ""}
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments], stderr=file, stdout=file, env=environment
            )
        try:
            while not _is_ready(port):
                if process.poll() is not None or time.perf_counter() > start + _PATIENCE_SECONDS:
                    lines = log.read_text().strip().splitlines() or ["no message"]
                    raise CbirError(f"the server did not start: {lines[-1]}")
                time.sleep(0.01)
            yield Started(port, time.perf_counter() - start)
        finally:
            process.terminate()
            process.wait()


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
            return True
    except (URLError, TimeoutError):
        return False
