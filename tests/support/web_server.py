"""A web server on this machine, for tests that fetch."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cbir.sources import remote

Answer = Callable[[BaseHTTPRequestHandler], None]


class Site:
    """A web server on loopback: `pages` says what it answers, `asked` keeps (path, host, port of the client)."""

    def __init__(self) -> None:
        self.pages: dict[str, Answer] = {}
        self.asked: list[tuple[str, str, int]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.asked.append((self.path, self.headers["Host"], self.client_address[1]))
                page = site.pages.get(self.path, partial(answer, status=404))
                try:
                    page(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"


@contextmanager
def serve() -> Iterator[Site]:
    """Run a site, and close what was fetched over afterwards."""
    site = Site()
    thread = threading.Thread(target=site.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield site
    finally:
        while remote._pools:
            remote._pools.popitem()[1].close()
        site.server.shutdown()
        site.server.server_close()
        thread.join()


def answer(handler: BaseHTTPRequestHandler, body: bytes = b"", status: int = 200, **headers: str) -> None:
    """Send a whole answer."""
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def drip(handler: BaseHTTPRequestHandler, head: bytes, every: float = 0.05, forever: bytes = b"x") -> None:
    """Send a head, and then byte after byte without end."""
    handler.wfile.write(head)
    while True:
        handler.wfile.write(forever)
        time.sleep(every)
