"""Sixteen clients for a while, with good and bad requests, while new generations are published."""

import http.client
import json
import statistics
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

import cbir
from tests.support.api import write_images
from tests.support.http_api import RunningServer, running

SEARCH = "/v1/collections/few/search"
CLIENTS = 16


def form(data: bytes) -> tuple[bytes, str]:
    """Return the body and the type of a form with an image."""
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
    return head + data + b"\r\n--b--\r\n", "multipart/form-data; boundary=b"


class Client(threading.Thread):
    """Sends requests in turn until it is stopped, and counts those whose answers are not the expected ones."""

    def __init__(self, server: RunningServer, number: int, images: list[bytes], stop: threading.Event):
        super().__init__(daemon=True)
        self.counts: Counter[str] = Counter()
        self.wrong: list[tuple[int, bytes]] = []
        self._server, self._number, self._stop_event = server, number, stop
        good = [(*form(data), 200) for data in images] + [
            (json.dumps({"text": "a cat"}).encode(), "application/json", 200)
        ]
        bad = [(b"{", "application/json", 400), (b'{"limit": 0}', "application/json", 422), (*form(b"zzz"), 422)]
        self._requests = [*good, bad[number % 3]]

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=60)
        turn = self._number
        while not self._stop_event.is_set():
            body, media_type, expected = self._requests[turn % len(self._requests)]
            turn += 1
            connection.request("POST", SEARCH, body, {"Content-Type": media_type})
            answer = connection.getresponse()
            text = answer.read()
            self.counts["good" if expected == 200 else "bad"] += 1
            if answer.status != expected:
                self.wrong.append((answer.status, text[:300]))
        connection.close()


def counted(clients: Sequence[Client]) -> Counter[str]:
    """The answers that all clients got."""
    return sum((client.counts for client in clients), Counter())


def enough(clients: Sequence[Client]) -> bool:
    """Whether there are enough answers to judge by."""
    counts = counted(clients)
    return counts["good"] > 100 and counts["bad"] > 10


@pytest.mark.slow
def test_no_good_request_fails_and_memory_stays_flat(tmp_path: Path, soak: bool) -> None:
    seconds, every = (600, 30) if soak else (12, 3)
    url = f"faiss:{tmp_path / 'index'}"
    folder = write_images(str(tmp_path / "photos"), 60, 9)
    images = [path.read_bytes() for path in sorted(folder.rglob("*.png"))[:5]]
    stop, memory = threading.Event(), []
    with cbir.open(url, "few", create=True) as few, running(["--store", url, "--max-requests", "64"]) as server:
        few.add(folder)
        clients = [Client(server, number, images, stop) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        process, start = psutil.Process(server.process.pid), time.monotonic()
        published = 0
        while (now := time.monotonic() - start) < seconds or published < 3 or (now < 300 and not enough(clients)):
            memory.append((now, process.memory_info().rss))
            if now > (published + 1) * every:
                published += 1
                few.add([images[published % 5]], keys=[f"more {published}"])
                few.optimize()
            time.sleep(0.5)
        stop.set()
        for client in clients:
            client.join(60)
        log = server.written()
    counts = counted(clients)
    assert [wrong for client in clients for wrong in client.wrong] == []
    assert enough(clients), counts
    assert "Traceback" not in log
    if soak:
        second, last = ([rss for at_second, rss in memory if low <= at_second < low + 60] for low in (60, seconds - 60))
        growth = statistics.median(last) / statistics.median(second)
        done = f"{counts['good']:,} good and {counts['bad']:,} bad requests, {published} generations"
        print(f"{done}, memory x{growth:.3f}")  # noqa: T201
        assert growth < 1.05
