"""Keys and bodies of requests."""

from pathlib import Path

import pytest
from cbir.serve.bodies import AddForm, SearchBody
from cbir.serve.keys import hashed
from cbir.serve.requests import _is_list, body_of
from fastapi.testclient import TestClient

from tests.serve.conftest import NAME, READ, WRITE, client_of

CLOSED = ("/v1/collections", f"/v1/collections/{NAME}/count", f"/v1/collections/{NAME}/points", "/metrics")


@pytest.mark.parametrize("path", CLOSED)
def test_reading_needs_a_key_if_there_is_one(path: str, index: Path) -> None:
    with client_of(stores=(f"faiss:{index}/faiss",), read_keys=(READ,), write_keys=(hashed(WRITE),)) as client:
        for headers in (
            {"api-key": READ},
            {"api-key": WRITE},
            {"authorization": f"Bearer {READ}"},
            {"authorization": f"bearer {WRITE}"},
        ):
            assert client.get(path, headers=headers).status_code == 200
        wrong = (
            {"api-key": READ[:-1]},
            {"authorization": f"Basic {READ}"},
            {"authorization": READ},
            {"api-key": hashed(READ)},
        )
        for headers in ({}, *wrong):
            answer = client.get(path, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert READ not in answer.text
        search = client.post(f"/v1/collections/{NAME}/search", json={"text": "a"})
        assert search.status_code == client.post("/v1/embed", json={"input": "a"}).status_code == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/docs", "/openapi.json"])
def test_health_and_documentation_need_no_key(path: str, index: Path) -> None:
    with client_of(stores=(f"faiss:{index}/faiss",), read_keys=(READ,)) as client:
        answer = client.get(path)
        assert answer.status_code == 200
        assert str(index) not in answer.text


def test_a_field_of_a_form_is_repeated_if_it_may_be_a_list(client: TestClient) -> None:
    assert [name for name, field in SearchBody.model_fields.items() if _is_list(field.annotation)] == [
        "text",
        "ids",
        "like",
        "unlike",
        "unlike_text",
    ]
    assert _is_list(AddForm.model_fields["image"].annotation)
    answer = client.post(
        f"/v1/collections/{NAME}/search", data={"text": ["a cat", "a dog"], "limit": "3"}, files={"x": ("", b"")}
    )
    assert answer.status_code == 422 and "x: Extra inputs" in answer.json()["detail"]
    both = client.post(
        f"/v1/collections/{NAME}/search", data={"text": ["a cat", "a dog"], "limit": "3", "exact": "true"}, headers={}
    )
    assert both.status_code == 415, "a form without files is sent in another type, which is not accepted"


def test_the_document_names_the_schema_of_a_body() -> None:
    content = body_of(SearchBody, SearchBody)["requestBody"]["content"]
    assert set(content) == {"application/json", "multipart/form-data"}
    assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/SearchBody"}
