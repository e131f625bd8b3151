"""How long a collection that a client fills stays open, and how long a client waits until it is published."""

import time
from typing import Any

import pytest
from cbir.serve.filling import opened
from cbir.serve.routes import filling
from fastapi.testclient import TestClient

from cbir.errors import CbirError
from tests.support.filling import FILLING, body, point


def test_a_long_publishing_is_asked_for_again(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ask("points", points=[point(number) for number in range(20)])
    monkeypatch.setattr(opened, "PUBLISH_SECONDS", 0)
    assert ask("publish", attempt="1") == {"published": False}
    monkeypatch.setattr(opened, "PUBLISH_SECONDS", 60)
    assert ask("publish", attempt="1") == {"published": True}


def test_others_may_change_a_collection_after_a_pause(
    ask: Any, writer: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change() -> Any:
        return writer.request("DELETE", "/v1/collections/made/points", json={"filter": "label=made"})

    monkeypatch.setattr(opened, "IDLE_SECONDS", 600)
    ask("points", points=[point(0)])
    ask("publish", attempt="1")
    answer = change()
    assert (answer.status_code, "filling" in answer.json()["detail"]) == (503, True)
    monkeypatch.setattr(opened, "IDLE_SECONDS", 0.01)
    ask("")
    give_up = time.monotonic() + 60
    while (answer := change()).status_code == 503 and time.monotonic() < give_up:
        pass
    assert answer.json() == {"changed": 1}


def test_a_publishing_that_failed_is_tried_again(ask: Any, writer: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise CbirError("locked for a moment")

    ask("points", points=[point(0)])
    with monkeypatch.context() as patch:
        patch.setattr(filling, "_publish", fail)
        answer = writer.post(f"{FILLING}/publish", json=body(attempt="1"))
        assert (answer.status_code, answer.json()["detail"]) == (503, "locked for a moment")
    assert ask("publish", attempt="1") == {"published": True}


def test_after_an_error_the_next_request_opens_it_again(ask: Any, writer: TestClient) -> None:
    ask("points", points=[point(0)])
    assert writer.post(f"{FILLING}/space", json=body(fresh=10**12)).status_code == 507
    assert ask("")["resumed"] == 1
