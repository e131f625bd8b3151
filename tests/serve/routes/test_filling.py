"""Vectors of the client's own: stored at once, found once they are published, refused if no search could use them."""

from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from cbir.records import vector_text
from tests.serve.conftest import READ, WRITE, client_of
from tests.support.filling import FILLING, KNOWN, body, point


def test_points_are_found_once_they_are_published(ask: Any, writer: TestClient) -> None:
    assert ask("") == {"resumed": 0, "needs_publishing": False, "state": None}
    assert ask("points", points=[point(number) for number in range(5)]) == {"failures": []}
    assert writer.get("/v1/collections/made").status_code == 404
    assert ask("publish", attempt="1") == {"published": True}
    assert ask("publish", attempt="1") == {"published": True}, "a lost answer is asked for again"
    search = partial(writer.post, "/v1/collections/made/search", json={"vector": point(3)["vector"], "limit": 1})
    assert [hit["payload"]["key"] for hit in search().json()["hits"]] == ["3"]
    assert ask("")["state"] is not None
    ask("delete", ids=[point(3)["id"]])
    ask("update", ids=[point(1)["id"]], changes={"label": "changed"})
    (left,) = ask("read", ids=[point(1)["id"], point(3)["id"]])["points"]
    assert left["payload"]["label"] == "changed"
    assert [hit["payload"]["key"] for hit in search().json()["hits"]] == ["3"], "not published yet"
    ask("publish", attempt="2")
    assert writer.get("/v1/collections/made/count").json() == {"count": 4}
    assert writer.get("/v1/collections/made/count?filter=label=changed").json() == {"count": 1}


def test_what_a_client_left_is_finished_by_the_next(ask: Any, writer: TestClient) -> None:
    ask("points", points=[point(0), point(1)])
    assert writer.post(f"{FILLING}/close").status_code == 200
    assert ask("")["resumed"] == 2
    ask("publish", attempt="1")
    assert writer.get("/v1/collections/made/count").json() == {"count": 2}


NAN = vector_text(np.full(KNOWN.dimension, np.nan))
WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "another dimension": ("points", {"points": [point(0, vector=[1.0])]}, "1 dimensions"),
    "no unit vector": ("points", {"points": [point(0, vector=[1.0] * KNOWN.dimension)]}, "unit length"),
    "no finite vector": ("points", {"points": [point(0, vector=NAN)]}, "unit length"),
    "no id": ("points", {"points": [point(0, id="../x")]}, "is not an id"),
    "no key": ("points", {"points": [point(0, payload={"sha256": ""})]}, "needs the texts"),
    "no points": ("points", {"points": []}, "at least 1"),
    "ids that are none": ("delete", {"ids": ["x"]}, "is not an id"),
    "no changes": ("update", {"ids": [], "changes": {}}, "at least 1"),
    "a path for a checksum": ("", {"model": {**asdict(KNOWN), "sha256": "../" * 21 + "x"}}, "64 hexadecimal digits"),
    "a path for a name": ("", {"model": {**asdict(KNOWN), "name": "../../secret"}}, "no slashes"),
    "no dimensions": ("", {"model": {**asdict(KNOWN), "dimension": 0}}, "from 1 to 65,536"),
    "an unknown field": ("", {"plan": 1}, "Extra inputs"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_request_is_one_clear_problem(name: str, writer: TestClient) -> None:
    what, more, message = WRONG[name]
    answer = writer.post(f"{FILLING}/{what}".rstrip("/"), json=body(**more))
    assert answer.status_code == 422
    assert message in answer.json()["detail"]


def test_a_name_that_no_collection_can_have(writer: TestClient) -> None:
    answer = writer.post("/v1/collections/..%2Fx/filling", json=body())
    assert answer.status_code in (404, 422)


def test_an_unknown_model_has_to_be_sent_first(writer: TestClient) -> None:
    answer = writer.post(FILLING, json=body(model={**asdict(KNOWN), "sha256": "1" * 64, "name": "mine"}))
    assert answer.status_code == 409
    assert "no file of the model mine" in answer.json()["detail"]


def test_another_source_or_model_is_refused_and_nothing_is_lost(ask: Any, writer: TestClient) -> None:
    ask("points", points=[point(0)])
    answer = writer.post(FILLING, json=body(source="elsewhere"))
    assert (answer.status_code, "filled from nowhere" in answer.json()["detail"]) == (422, True)
    assert ask("")["resumed"] == 1
    assert writer.post(FILLING, json=body(source="elsewhere", same_source=True)).status_code == 200


def test_too_little_space_is_507(writer: TestClient) -> None:
    answer = writer.post(f"{FILLING}/space", json=body(fresh=10**12))
    assert answer.status_code == 507


def test_too_many_points_are_413(writer: TestClient) -> None:
    answer = writer.post(f"{FILLING}/points", json=body(points=[point(0)] * 21))
    assert answer.status_code == 413


def test_a_reader_may_not_fill(index: Any) -> None:
    with client_of(stores=(f"faiss:{index}/faiss",), read_keys=(READ,), write_keys=(WRITE,)) as client:
        answer = client.post(FILLING, json=body(), headers={"api-key": READ})
        assert answer.status_code == 403
