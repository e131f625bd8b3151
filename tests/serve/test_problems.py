"""Errors are problems that say what to do, and nothing about the server's files."""

from collections.abc import Callable
from typing import Any

import pytest
from cbir.serve.problems import problem
from fastapi.testclient import TestClient

from cbir.collection import Collection
from cbir.errors import CbirError, DamageError, DiskFullError, ImageError, UsageError
from tests.serve.conftest import NAME


def test_a_problem_is_json_with_its_status_and_id() -> None:
    answer = problem(429, "too many", "abc", {"Retry-After": "1"})
    assert (answer.status_code, answer.media_type, answer.headers["retry-after"]) == (
        429,
        "application/problem+json",
        "1",
    )
    assert b'"title":"Too Many Requests"' in answer.body and b'"errors"' not in answer.body


@pytest.mark.parametrize(
    ("error", "status", "shown"),
    [
        (UsageError("say this: https://me:secret@host"), 422, "say this: https://host"),
        (ImageError("not an image"), 422, "not an image"),
        (DamageError("/srv/secret/log is damaged"), 503, "the store failed"),
        (DiskFullError("/srv/secret has no room"), 507, "disk is full"),
        (CbirError("cannot reach http://secret:6333"), 503, "the store failed"),
    ],
)
def test_what_an_error_of_the_library_becomes(
    error: CbirError,
    status: int,
    shown: str,
    refused: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(Collection, "search_batch", failing)
    detail = refused(status, "POST", f"/v1/collections/{NAME}/search", json={"vector": [1.0]})
    assert shown in detail and "secret" not in detail
    assert status == 422 or str(error).split()[0] in caplog.text, "the operator reads the reason"


def test_routes_and_methods_that_do_not_exist(client: TestClient, refused: Callable[..., str]) -> None:
    assert refused(404, "GET", "/v2/nothing") == "Not Found"
    assert refused(405, "PUT", f"/v1/collections/{NAME}/search") == "Method Not Allowed"
