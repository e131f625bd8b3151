"""Clients of an HTTP server, in a process of their own: `python -m cbir.bench.http_api.clients < ORDER`.

They send bodies in turn over connections that stay open, and count what came back.
"""

import asyncio
import base64
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle

from cbir.errors import CbirError

_LENGTH = b"content-length:"


@dataclass(frozen=True)
class Order:
    """What to send: the bodies, in turn, to a path by a number of clients for some seconds."""

    port: int
    path: str
    media_type: str
    bodies: list[str]
    clients: int
    seconds: float


@dataclass(frozen=True)
class Counted:
    """The milliseconds of every request that was answered with 200, and the number of the others."""

    milliseconds: list[float]
    failed: int
    seconds: float


def send(port: int, path: str, media_type: str, bodies: Sequence[bytes], clients: int, seconds: float) -> Counted:
    """Return what clients in a process of their own counted."""
    texts = [base64.b64encode(body).decode() for body in bodies]
    order = json.dumps(asdict(Order(port, path, media_type, texts, clients, seconds)))
    command = [sys.executable, "-m", "cbir.bench.http_api.clients"]
    done = subprocess.run(command, input=order, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CbirError(f"the clients failed: {done.stderr.strip().splitlines()[-1]}")
    return Counted(**json.loads(done.stdout))


def head(path: str, media_type: str, length: int) -> bytes:
    """Return the head of a request."""
    lines = (f"POST {path} HTTP/1.1", "host: localhost", f"content-type: {media_type}", f"content-length: {length}")
    return "\r\n".join((*lines, "", "")).encode()


async def _run(order: Order) -> Counted:
    bodies = [base64.b64decode(body) for body in order.bodies]
    requests = cycle([head(order.path, order.media_type, len(body)) + body for body in bodies])
    milliseconds: list[float] = []
    failed = 0
    start = time.perf_counter()

    async def client() -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", order.port)
        while (sent := time.perf_counter()) < start + order.seconds:
            writer.write(next(requests))
            answered = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = answered.partition(_LENGTH)[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            if answered.startswith(b"http/1.1 200"):
                milliseconds.append((time.perf_counter() - sent) * 1000)
            else:
                failed += 1
        writer.close()

    await asyncio.gather(*(client() for _ in range(order.clients)))
    return Counted(milliseconds, failed, time.perf_counter() - start)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(asyncio.run(_run(Order(**json.load(sys.stdin)))))))
