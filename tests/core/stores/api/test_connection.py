"""Requests to a `cbir-serve`: repeated while it is busy, and errors that say what to do."""

import json
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from cbir.errors import CbirError, UsageError
from cbir.settings import Settings
from cbir.stores.api import connection
from cbir.stores.api.connection import ApiConnection
from tests.support.browser import free_port
from tests.support.web_server import answer, serve


def problem(status: int, detail: str) -> Callable[[BaseHTTPRequestHandler], None]:
    return partial(answer, body=json.dumps({"detail": detail}).encode(), status=status)


def test_an_answer_is_json() -> None:
    with serve() as site:
        site.pages["/a?filter=x%3D1"] = partial(answer, body=b'{"b": [1, null]}')
        assert ApiConnection(site.url, Settings()).get("/a", filter="x=1", after=None) == {"b": [1, None]}


def test_what_answers_something_else_is_one_clear_line() -> None:
    with serve() as site:
        site.pages["/a"] = partial(answer, body=b"<html>Welcome</html>")
        with pytest.raises(CbirError, match=f"^{site.url} does not answer as a cbir-serve does. Check the URL$"):
            ApiConnection(site.url, Settings()).get("/a")


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (404, UsageError, "no collection"),
        (401, UsageError, "no collection"),
        (422, UsageError, "no collection"),
        (500, CbirError, "no collection"),
    ],
)
def test_a_problem_is_an_error_with_its_reason(status: int, error: type[CbirError], message: str) -> None:
    with serve() as site:
        site.pages["/a"] = problem(status, "there is no collection x")
        with pytest.raises(error, match=message) as caught:
            ApiConnection(site.url, Settings()).get("/a")
        assert isinstance(caught.value, UsageError) is (error is UsageError)
        assert len(site.asked) == 1


def test_lines_that_do_not_come_are_one_clear_line() -> None:
    port = free_port()
    with pytest.raises(CbirError, match=f"http://127.0.0.1:{port} did not answer: "):
        list(ApiConnection(f"http://127.0.0.1:{port}", Settings()).lines("/a", {}))


def test_a_busy_server_is_tried_again() -> None:
    answers = [problem(503, "filling"), problem(429, "too many"), partial(answer, body=b"{}")]
    with serve() as site:
        site.pages["/a"] = lambda request: answers.pop(0)(request)
        assert ApiConnection(site.url, Settings()).get("/a") == {}
        assert len(site.asked) == 3


def test_a_server_that_stays_away_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "RETRY_SECONDS", 0.2)
    port = free_port()
    with pytest.raises(CbirError, match=f"cannot reach http://127.0.0.1:{port}: "):
        ApiConnection(f"http://127.0.0.1:{port}/photos", Settings()).get("/a")
    with serve() as site:
        site.pages["/a"] = partial(answer, body=b"<html>", status=503)
        with pytest.raises(CbirError, match="HTTP 503. Is this a cbir-serve?"):
            ApiConnection(site.url, Settings()).get("/a")


@pytest.mark.parametrize(
    "url", ["http://", "http://me:secret@host", "http://host:1/a/b", "http://host?x=1", "http://a b"]
)
def test_a_wrong_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="is no address") as caught:
        ApiConnection(url, Settings())
    assert "secret" not in str(caught.value)


def test_a_key_is_sent_only_where_nobody_else_reads_it() -> None:
    def settings(**more: Any) -> Settings:
        return Settings(api_key="a key of a test", **more)

    with pytest.raises(UsageError, match="without TLS"):
        ApiConnection("http://photos.example.org", settings())
    for url, more in (
        ("https://photos.example.org", {}),
        ("http://localhost:8000", {}),
        ("http://photos.example.org", {"insecure": True}),
    ):
        ApiConnection(url, settings(**more))
    keys = []
    with serve() as site:

        def page(request: BaseHTTPRequestHandler) -> None:
            keys.append(request.headers["api-key"])
            answer(request, body=b"{}")

        site.pages["/a"] = page
        ApiConnection(site.url, settings()).get("/a")
        ApiConnection(site.url, Settings()).get("/a")
    assert keys == ["a key of a test", None]
