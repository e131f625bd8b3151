"""The application as a whole: its document, who may use it from where, and that no route is left open."""

import json
import re
from pathlib import Path

import pytest
from cbir.serve.app import create_app
from cbir.serve.settings import ServeSettings
from fastapi.testclient import TestClient

from cbir.errors import UsageError
from tests.serve.conftest import NAME, READ, WRITE, client_of

OPEN = {"/healthz", "/readyz"}
CHANGING = re.compile(r"/points$|/use$|/filling")
"""The end of a path that changes something when it is posted to."""


def test_every_route_needs_the_right_key(index: Path) -> None:
    count = 0
    with client_of(stores=(f"faiss:{index}/faiss",), read_keys=(READ,), write_keys=(WRITE,)) as client:
        for path, operations in client.get("/openapi.json").json()["paths"].items():
            for method, operation in operations.items():
                count += 1
                assert operation["description"], f"{path} has no description"
                changes = method in ("put", "patch", "delete") or (method == "post" and bool(CHANGING.search(path)))
                expected = (None, None) if path in OPEN else (401, 403 if changes else None)
                for headers, refused in zip(({}, {"api-key": READ}), expected, strict=True):
                    status = client.request(method.upper(), path, headers=headers).status_code
                    assert status == refused or (refused is None and status not in (401, 403)), path
                assert bool(operation.get("security")) is (path not in OPEN)
    assert count > 18


def test_the_document_is_complete(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    text = json.dumps(document)
    names = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= document["components"]["schemas"].keys()
    assert {"SearchBody", "AddForm", "Example", "Problem"} <= names
    body = document["components"]["schemas"]["SearchBody"]["properties"]
    assert body["vector"]["anyOf"][0]["items"] == {"type": "number"}
    search = document["paths"]["/v1/collections/{name}/search"]["post"]
    assert set(search["requestBody"]["content"]) == {"application/json", "multipart/form-data"}
    assert search["security"] == [{"bearer": []}, {"api-key": []}]


def test_scripts_of_other_pages_may_use_it_only_if_they_are_named(index: Path) -> None:
    stores = (f"faiss:{index}/faiss",)
    asking = {"origin": "https://shop.example.org", "access-control-request-method": "POST"}
    with client_of(stores=stores) as client:
        assert "access-control-allow-origin" not in client.get("/v1/collections", headers=asking).headers
    with client_of(stores=stores, cors_origins=("https://shop.example.org",), rate_limit=1000) as client:
        path = f"/v1/collections/{NAME}/search"
        asking["access-control-request-headers"] = "api-key"
        answer = client.options(path, headers=asking)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://shop.example.org"
        refused = client.post(path, json={}, headers=asking)
        assert refused.status_code == 422
        assert refused.headers["access-control-allow-origin"] == "https://shop.example.org", "a script reads why"
        assert client.options(path, headers=asking | {"origin": "https://evil.example"}).status_code == 400


def test_a_foreign_name_of_this_machine_is_refused(index: Path) -> None:
    with client_of(stores=(f"faiss:{index}/faiss",), hosts=("localhost", "::1", "testserver")) as client:
        assert client.get("/v1/collections").status_code == 200
        assert client.get("/v1/collections", headers={"host": "[::1]:8000"}).status_code == 200
        refused = client.get("/v1/collections", headers={"host": "evil.example"})
        assert refused.status_code == 400
        assert refused.headers["x-request-id"], "it is logged and counted as every request"


def test_wrong_settings_are_refused_before_anything_is_served(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown store"):
        create_app(ServeSettings(_env_file=None, stores=("ftp:x",)))


def test_a_store_without_a_collection_is_served(tmp_path: Path) -> None:
    with client_of(stores=(f"edge:{tmp_path / 'none'}",)) as client:
        assert client.get("/readyz").json() == {"status": "ready", "collection": None}
        assert client.get("/v1/collections").json() == {"collections": []}
        assert client.get("/v1/collections/x/count").status_code == 404
    assert not (tmp_path / "none").exists(), "a server that reads creates nothing"
