"""Changes over HTTP: durable and visible when they are answered, and only with a write key."""

import base64
import io
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cbir.serve.routes import writing
from fastapi.testclient import TestClient
from PIL import Image

import cbir
from cbir.collection import Collection
from cbir.errors import CbirError, DiskFullError
from tests.serve.conftest import AS_WRITER, READ, WRITE, client_of
from tests.support.api import write_images
from tests.support.web_server import answer as send
from tests.support.web_server import serve

POINTS = "/v1/collections/few/points"


def png(color: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), color).save(buffer, "PNG")
    return buffer.getvalue()


def count(client: TestClient) -> int:
    return int(client.get("/v1/collections/few/count").json()["count"])


def test_an_added_image_is_found_at_once_and_by_others(writer: TestClient, tmp_path: Path) -> None:
    answer = writer.post(
        POINTS,
        files=[("image", png("red")), ("image", png("blue"))],
        data={"key": ["red", "blue"], "payload": ['{"label": "Colours", "year": 2020}', "{}"]},
    )
    assert answer.status_code == 200, answer.text
    report = answer.json()
    assert (report["stored"], report["skipped"], set(report["ids"])) == (2, 0, {"red", "blue"})
    hits = writer.post("/v1/collections/few/search", files={"image": png("red")}).json()["hits"]
    assert hits[0]["id"] == report["ids"]["red"]
    assert hits[0]["payload"] | {"label": "Colours", "year": 2020} == hits[0]["payload"]
    with cbir.open(f"faiss:{tmp_path / 'index'}", "few") as others:
        assert others.get("blue") is not None
    again = writer.post(
        POINTS, files={"image": png("red")}, data={"key": "red", "payload": '{"label": "Colours", "year": 2020}'}
    )
    assert (again.json()["stored"], again.json()["unchanged"], count(writer)) == (0, 1, 8)


def test_images_are_added_as_json_and_by_url(writer: TestClient) -> None:
    with serve() as site:
        site.pages["/a.png"] = partial(send, body=png("green"))
        images = [
            {"url": f"{site.url}/a.png"},
            {"url": f"{site.url}/missing.png", "key": "missing"},
            {"image": base64.b64encode(png("pink")).decode(), "payload": {"label": "Pink"}},
            {"image": base64.b64encode(b"zzz").decode(), "key": "broken"},
        ]
        report = writer.post(POINTS, json={"images": images}).json()
    assert (report["stored"], report["skipped"]) == (2, 2)
    assert {failure["key"]: failure["reason"] for failure in report["failures"]} == {
        "missing": f"{site.url}/missing.png: HTTP 404 Not Found",
        "broken": "not an image of a known format",
    }
    assert f"{site.url}/a.png" in report["ids"] and len(report["ids"]) == 2
    assert count(writer) == 8


def test_fields_are_changed_and_images_deleted(writer: TestClient) -> None:
    changed = writer.patch(POINTS, json={"changes": {"label": "New", "tags": ["a"]}, "ids": ["c/0.png", "c/1.png"]})
    assert changed.json() == {"changed": 2}
    assert writer.get("/v1/collections/few/count?filter=label%3DNew").json() == {"count": 2}
    assert writer.patch(POINTS, json={"changes": {"tags": None}, "filter": "label=New"}).json() == {"changed": 2}
    assert "tags" not in writer.get(f"{POINTS}/c/0.png").json()["payload"]
    assert writer.request("DELETE", POINTS, json={"filter": "label=New"}).json() == {"changed": 2}
    assert count(writer) == 4
    assert writer.get(f"{POINTS}/c/0.png").status_code == 404


def test_a_new_collection_is_made_only_on_request(writer: TestClient) -> None:
    other = "/v1/collections/other/points"
    assert writer.post(other, files={"image": png("red")}).status_code == 404
    answer = writer.post(other, files={"image": png("red")}, data={"create": "true", "key": "red"})
    assert (answer.status_code, answer.json()["stored"]) == (200, 1)
    assert writer.get("/v1/collections/other/count").json() == {"count": 1}
    assert writer.get(f"{other}/red").json()["id"] == answer.json()["ids"]["red"]


WRONG: dict[str, tuple[str, int, dict[str, Any], str]] = {
    "no images": ("POST", 422, {"json": {"images": []}}, "images"),
    "two kinds": ("POST", 422, {"json": {"images": [{"url": "http://a", "image": "AAAA"}]}}, "either image or url"),
    "the same key": ("POST", 422, {"json": {"images": [{"url": "http://a"}] * 2}}, "the same key"),
    "too many": ("POST", 413, {"json": {"images": [{"url": f"http://a/{i}"} for i in range(21)]}}, "the limit is 20"),
    "only broken": ("POST", 422, {"json": {"images": [{"url": "ftp://a"}]}}, "no image can be fetched"),
    "a payload that is no JSON": (
        "POST",
        422,
        {"files": {"image": png("red")}, "data": {"payload": "{"}},
        "payload: no valid JSON",
    ),
    "too few keys": (
        "POST",
        422,
        {"files": [("image", png("red")), ("image", png("blue"))], "data": {"key": "a"}},
        "2 images and 1 of key",
    ),
    "no changes": ("PATCH", 422, {"json": {"changes": {}, "ids": ["a"]}}, "changes"),
    "nothing chosen to change": ("PATCH", 422, {"json": {"changes": {"a": 1}}}, "ids"),
    "its identity": ("PATCH", 422, {"json": {"changes": {"sha256": "0"}, "ids": ["a"]}}, "cannot be changed"),
    "nothing chosen to delete": ("DELETE", 422, {"json": {}}, "ids"),
    "a wrong filter": ("DELETE", 422, {"json": {"filter": "labl=x"}}, "labl"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_change_changes_nothing(name: str, writer: TestClient) -> None:
    method, status, options, message = WRONG[name]
    answer = writer.request(method, POINTS, **options)
    assert answer.status_code == status, answer.text
    assert message in answer.json()["detail"]
    assert count(writer) == 6


def test_who_may_change(writer: TestClient, tmp_path: Path) -> None:
    url = f"faiss:{tmp_path / 'index'}"
    changes = [
        ("POST", {"files": {"image": png("red")}}),
        ("PATCH", {"json": {"changes": {"a": 1}, "ids": ["c/0.png"]}}),
        ("DELETE", {"json": {"ids": ["c/0.png"]}}),
    ]
    for settings, headers, status in (
        ({}, AS_WRITER, 403),
        ({"read_keys": (READ,), "write_keys": (WRITE,)}, {}, 401),
        ({"read_keys": (READ,), "write_keys": (WRITE,)}, {"api-key": READ}, 403),
        ({"read_keys": (READ,), "write_keys": (WRITE,)}, {"authorization": f"Bearer {READ}x"}, 401),
        ({"write_keys": (WRITE,)}, {}, 401),
    ):
        with client_of(stores=(url,), **settings) as client:
            for method, options in changes:
                assert client.request(method, POINTS, headers=headers, **options).status_code == status
    assert count(writer) == 6


@pytest.mark.parametrize(
    ("error", "status", "shown"),
    [
        (CbirError("another run is filling the collection"), 503, "another run is filling"),
        (DiskFullError("no space in /srv/secret"), 507, "disk is full"),
    ],
)
def test_a_failed_change_says_why(
    error: CbirError, status: int, shown: str, writer: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Collection, "add", failing)
    answer = writer.post(POINTS, files={"image": png("red")})
    assert answer.status_code == status and shown in answer.json()["detail"]
    assert "secret" not in answer.text
    assert status != 503 or answer.headers["retry-after"] == "1"


def test_a_form_stands_for_the_same_body_as_json() -> None:
    form = writing.AddForm(image=[b"a", b"b"], key=["x", "y"], payload=[json.dumps({"label": "A"}), "{}"], create=True)
    body = writing._of_form(form)
    assert body.create
    assert [(image.image, image.key, image.payload) for image in body.images] == [
        (b"a", "x", {"label": "A"}),
        (b"b", "y", {}),
    ]


def test_changes_of_a_folder_can_be_added_next_to_it(tmp_path: Path) -> None:
    """A collection that was filled from a folder takes single images too, and keeps its source."""
    folder = write_images(str(tmp_path / "photos"), 3, 5)
    url = f"faiss:{tmp_path / 'index'}?index=Flat"
    with cbir.open(url, "few", create=True) as few:
        few.add(folder)
    with client_of(stores=(url,), write_keys=(WRITE,)) as client:
        assert client.post(POINTS, files={"image": png("red")}, headers=AS_WRITER).json()["stored"] == 1
    with cbir.open(url, "few") as few:
        assert few.add(folder).unchanged == 3
