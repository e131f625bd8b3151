"""Limits, request ids, logs and unexpected errors."""

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cbir.serve.guard import RateLimit
from cbir.serve.service import Service
from fastapi.testclient import TestClient

from tests.serve.conftest import NAME, client_of

SEARCH = f"/v1/collections/{NAME}/search"


def test_a_rate_is_per_client_and_allows_short_bursts() -> None:
    limit = RateLimit(2)
    assert [limit.wait("a", 0) for _ in range(4)] == [0, 0, 0, 0]
    assert limit.wait("a", 0) == pytest.approx(0.5)
    assert limit.wait("b", 0) == 0
    assert limit.wait("a", 0.5) == 0
    assert limit.wait("a", 0.6) > 0
    assert [limit.wait("a", 100) for _ in range(5)].count(0) == 4, "what was not used is not saved up"


def test_the_clients_that_are_remembered_are_limited() -> None:
    limit = RateLimit(1)
    for number in range(20_000):
        limit.wait(str(number), number)
    assert len(limit._clients) == 10_000


def test_a_fast_client_is_told_when_to_come_back(index: Path) -> None:
    with client_of(stores=(f"faiss:{index}/faiss",), rate_limit=0.02) as client:
        assert client.get("/v1/collections").status_code == 200
        answer = client.get("/v1/collections")
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 50
        assert client.get("/healthz").status_code == 200, "monitoring goes on"


def test_requests_beyond_the_limit_are_refused_at_once(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, leave = threading.Semaphore(0), threading.Event()

    def slow(service: Service) -> None:
        inside.release()
        leave.wait(30)

    with client_of(stores=(f"faiss:{index}/faiss",), max_requests=2) as client, ThreadPoolExecutor(2) as pool:
        monkeypatch.setattr(Service, "default", slow)
        running = [pool.submit(client.get, "/readyz") for _ in range(2)]
        for _ in running:
            assert inside.acquire(timeout=30)
        answer = client.get("/v1/collections")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        leave.set()
        assert [future.result().status_code for future in running] == [200, 200]
        assert client.get("/v1/collections").status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_is_refused(chunked: bool, index: Path) -> None:
    with client_of(stores=(f"faiss:{index}/faiss",), max_body_megabytes=0.01) as client:
        body: Any = (b" " * 1000 for _ in range(20)) if chunked else b" " * 20_000
        answer = client.post(SEARCH, content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 413
        assert "the limit is 10,485 bytes" in answer.json()["detail"]


def test_a_slow_body_is_refused(index: Path) -> None:
    with client_of(stores=(f"faiss:{index}/faiss",), body_seconds=0.05) as client:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if sent:
                return {"type": "http.disconnect"}
            await asyncio.sleep(30)
            return {}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": SEARCH,
            "raw_path": SEARCH.encode(),
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
            "client": ("1.2.3.4", 5),
            "http_version": "1.1",
            "scheme": "http",
            "server": ("localhost", 80),
        }
        asyncio.run(client.app(scope, receive, send))  # type: ignore[arg-type]
        assert sent[0]["status"] == 408


def test_a_request_has_an_id_in_its_answer_and_in_the_log(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "cbir.serve"):
        own = client.get("/v1/collections?secret=1", headers={"x-request-id": "my-id.7"})
        assert own.headers["x-request-id"] == "my-id.7"
        assert "my-id.7 GET /v1/collections 200 " in caplog.text
        forged = client.get("/v1/collections", headers={"x-request-id": "a b\tc"})
        assert len(forged.headers["x-request-id"]) == 16
        client.get("/healthz")
    assert "secret" not in caplog.text and "healthz" not in caplog.text
    assert own.headers["x-content-type-options"] == "nosniff"


def test_a_path_cannot_forge_a_line_of_the_log(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "cbir.serve"):
        client.get("/v1/collections/a%0Aforged%20line")
    assert all(len(record.getMessage().splitlines()) == 1 for record in caplog.records)


def test_an_unexpected_error_is_logged_and_shows_nothing(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(service: Service) -> None:
        raise ZeroDivisionError("/srv/secret/path")

    monkeypatch.setattr(Service, "default", broken)
    answer = client.get("/readyz")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text and "ZeroDivisionError" not in answer.text
    assert answer.json()["request_id"] in caplog.text and "ZeroDivisionError" in caplog.text
    assert client.get("/healthz").status_code == 200
