"""Searches over HTTP give what Python gives."""

import base64
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

import cbir
from tests.serve.conftest import NAME, client_of
from tests.support.examples import SampleImages
from tests.support.web_server import answer as send
from tests.support.web_server import serve

SEARCH = f"/v1/collections/{NAME}/search"
BATCH = f"{SEARCH}/batch"


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [hit["id"] for hit in answer.json()["hits"]]


def expected(hits: cbir.Hits) -> list[str]:
    return [hit.id for hit in hits]


def test_an_image_finds_itself_in_every_form(
    client: TestClient, photos: cbir.Collection, sample_images: SampleImages
) -> None:
    key, label, data = sample_images[7]
    wanted = expected(photos.search(data, limit=4))
    vector = photos.embed(data)
    text = base64.b64encode(data).decode()
    for answer in (
        client.post(SEARCH, files={"image": data}, data={"limit": "4"}),
        client.post(SEARCH, json={"image": text, "limit": 4}),
        client.post(SEARCH, json={"image": f"data:image/png;base64,{text}", "limit": 4}),
        client.post(SEARCH, json={"vector": vector.tolist(), "limit": 4}),
        client.post(SEARCH, json={"vector": base64.b64encode(vector.tobytes()).decode(), "limit": 4}),
        client.post("/v1/collections/photos/search", files={"image": data}, data={"limit": "4"}),
    ):
        assert ids(answer) == wanted
        best = answer.json()["hits"][0]
        assert best["score"] == pytest.approx(1, abs=1e-3)
        assert best["payload"]["label"] == str(label).replace(" & ", "-")
        assert best["payload"]["key"].endswith(f"{key}.png")
    assert set(client.post(SEARCH, files={"image": data}).json()["milliseconds"]) == {
        "decode",
        "preprocess",
        "model",
        "store",
    }


OPTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "like": ({"like": ["{0}", "{1}"]}, {"like": ["{0}", "{1}"]}),
    "ids": ({"ids": ["{0}"]}, {"like": ["{0}"]}),
    "unlike": ({"like": ["{0}"], "unlike": ["{1}"]}, {"like": "{0}", "unlike": "{1}"}),
    "weights": ({"like": [{"id": "{0}", "weight": 3}, "{1}"]}, {"like": [("{0}", 3), "{1}"]}),
    "text": ({"text": "a red heart"}, {"text": "a red heart"}),
    "texts": (
        {"text": ["a cat", "a flag"], "unlike_text": "food"},
        {"text": ["a cat", "a flag"], "unlike_text": "food"},
    ),
    "text and image": ({"text": "red", "like": ["{0}"]}, {"text": "red", "like": "{0}"}),
    "filter": ({"like": ["{0}"], "filter": "label=Flags|Symbols"}, {"like": "{0}", "filter": "label=Flags|Symbols"}),
    "page": ({"like": ["{0}"], "limit": 3, "offset": 4}, {"like": "{0}", "limit": 3, "offset": 4}),
    "min_score": ({"like": ["{0}"], "min_score": 0.5}, {"like": "{0}", "min_score": 0.5}),
    "expand": ({"like": ["{0}"], "expand": 5}, {"like": "{0}", "expand": 5}),
    "diversity": ({"like": ["{0}"], "diversity": 0.6}, {"like": "{0}", "diversity": 0.6}),
    "exact": ({"like": ["{0}"], "exact": True}, {"like": "{0}", "exact": True}),
    "ef": ({"like": ["{0}"], "ef": 300}, {"like": "{0}", "ef": 300}),
}


def filled(value: Any, keys: list[str]) -> Any:
    """Return a value with the keys of stored images in it."""
    if isinstance(value, dict):
        return {name: filled(inner, keys) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(filled(inner, keys) for inner in value)
    return value.format(*keys) if isinstance(value, str) else value


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_means_what_it_means_in_python(name: str, client: TestClient, photos: cbir.Collection) -> None:
    keys = [image.key for image in photos.scroll()][:2]
    body, options = filled(OPTIONS[name], keys)
    assert ids(client.post(SEARCH, json=body)) == expected(photos.search(**options))


def test_groups_have_the_ids_of_their_hits(client: TestClient, photos: cbir.Collection) -> None:
    key = next(photos.scroll()).key
    answer = client.post(SEARCH, json={"ids": [key], "group_by": "label", "limit": 3, "group_size": 2})
    hits = photos.search(key, group_by="label", limit=3, group_size=2)
    assert ids(answer) == expected(hits)
    assert answer.json()["groups"] == [
        {"value": group.value, "ids": [hit.id for hit in group.hits]} for group in hits.groups
    ]


def test_a_hit_has_what_was_requested(client: TestClient, photos: cbir.Collection) -> None:
    key = next(photos.scroll()).key
    (bare,) = client.post(SEARCH, json={"ids": [key], "limit": 1, "with_payload": False}).json()["hits"]
    assert set(bare) == {"id", "score"}
    (full,) = client.post(SEARCH, json={"ids": [key], "limit": 1, "with_vector": True}).json()["hits"]
    assert set(full) == {"id", "score", "payload", "vector"}
    stored = photos.get(full["id"])
    assert stored is not None and full["payload"] == stored.payload
    assert np.linalg.norm(full["vector"]) == pytest.approx(1, abs=1e-3)


def test_a_batch_gives_what_each_search_gives(client: TestClient, photos: cbir.Collection) -> None:
    keys = [image.key for image in photos.scroll()][:3]
    vectors = [vector.tolist() for vector in photos.vectors()[:5]]
    queries = [
        {"vector": vectors[0], "limit": 3},
        {"text": "a cat"},
        {"vector": vectors[1], "limit": 3},
        {"ids": keys[:1], "filter": "label=Flags"},
        {"vector": vectors[2], "limit": 2, "filter": "label=Flags"},
        {"like": keys, "diversity": 0.5},
        {"vector": vectors[3], "limit": 3, "offset": 2},
        {"vector": vectors[4], "limit": 3},
    ]
    answer = client.post(BATCH, json={"queries": queries})
    assert answer.status_code == 200, answer.text
    single = [ids(client.post(SEARCH, json=query)) for query in queries]
    assert [[hit["id"] for hit in result["hits"]] for result in answer.json()["results"]] == single


def test_a_url_is_fetched_from_public_addresses_only(index: Path, sample_images: SampleImages) -> None:
    stores = (f"faiss:{index}/faiss",)
    with serve() as site:
        site.pages["/a.png"] = partial(send, body=sample_images[3][2])
        body = {"url": f"{site.url}/a.png", "limit": 1}
        with client_of(stores=stores, allow_private_addresses=True) as client:
            answer = client.post(SEARCH, json=body)
            assert answer.json()["hits"][0]["payload"]["key"].endswith(f"{sample_images[3][0]}.png")
            assert client.post(SEARCH, json={"url": f"{site.url}/b.png"}).status_code == 422
        with client_of(stores=stores) as client:
            answer = client.post(SEARCH, json=body)
            assert answer.status_code == 422 and "private address" in answer.json()["detail"]
            for url in ("file:///etc/passwd", "gopher://localhost", "http://user:secret@example.org/", "no url"):
                answer = client.post(SEARCH, json={"url": url})
                assert answer.status_code == 422 and "secret" not in answer.text


WRONG: dict[str, tuple[int, dict[str, Any], str]] = {
    "nothing to look for": (422, {"json": {"limit": 3}}, "give an example"),
    "an unknown field": (422, {"json": {"text": "a", "limt": 3}}, "limt: Extra inputs are not permitted"),
    "no JSON": (400, {"content": b"{", "headers": {"content-type": "application/json"}}, "no valid JSON"),
    "another JSON": (422, {"json": [1, 2]}, "valid dictionary"),
    "deep JSON": (400, {"content": b"[" * 10**6}, "no valid JSON"),
    "another type": (415, {"content": b"a", "headers": {"content-type": "text/plain"}}, "application/json or"),
    "half a form": (
        400,
        {"content": b"--x", "headers": {"content-type": "multipart/form-data"}},
        "oundary",
    ),
    "a field twice": (422, {"data": {"limit": ["1", "2"]}, "files": {"image": b"x"}}, "limit: given twice"),
    "no image": (422, {"files": {"image": b"zzz"}}, "not an image of a known format"),
    "an empty image": (422, {"files": {"image": b""}}, "empty file"),
    "another dimension": (422, {"json": {"vector": [1.0, 2.0]}}, "1280 dimensions"),
    "an infinite vector": (422, {"json": {"vector": [1e300] * 1280}}, "not finite"),
    "a zero vector": (422, {"json": {"vector": [0] * 1280}}, "zero"),
    "an unknown id": (422, {"json": {"ids": ["0" * 8 + "-0000-0000-0000-" + "0" * 12]}}, "no point with the id"),
    "an unknown key": (422, {"json": {"ids": ["nothing"]}}, "no image with the id or key 'nothing'"),
    "a file of the server": (422, {"json": {"ids": ["/etc/passwd"]}}, "no image with the id or key"),
    "an empty text": (422, {"json": {"text": "  "}}, "the text is empty"),
    "a long text": (422, {"json": {"text": "x" * 3000}}, "the limit is 2,000"),
    "a wrong filter": (422, {"json": {"text": "a", "filter": "labl=x"}}, "Nearest: label"),
    "an unknown group": (422, {"json": {"text": "a", "group_by": "labl"}}, "labl"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_search_is_one_clear_problem(name: str, refused: Callable[..., str]) -> None:
    status, options, message = WRONG[name]
    detail = refused(status, "POST", SEARCH, **options)
    assert message in detail and "\n" not in detail


def test_the_problem_names_each_invalid_field(client: TestClient) -> None:
    answer = client.post(SEARCH, json={"text": "a", "limit": 0, "like": [{"id": "a", "text": "b"}]})
    assert {error["field"].partition(".")[0] for error in answer.json()["errors"]} == {"limit", "like"}


def test_there_is_no_such_collection(refused: Callable[..., str]) -> None:
    assert (
        refused(404, "POST", "/v1/collections/nothing/search", json={"text": "a"}) == "there is no collection nothing"
    )
    assert "invalid collection name" in refused(422, "POST", "/v1/collections/.hidden/search", json={"text": "a"})


def test_a_batch_has_a_limit(index: Path) -> None:
    with client_of(stores=(f"faiss:{index}/faiss",), max_batch=2) as client:
        answer = client.post(BATCH, json={"queries": [{"text": "a"}] * 3})
        assert answer.status_code == 413 and "the limit is 2" in answer.json()["detail"]
        answer = client.post(BATCH, json={"queries": [{"text": ["a", "b"]}, {"url": "https://example.org/a.png"}]})
        assert answer.status_code == 413 and answer.json()["detail"] == "3 in one request; the limit is 2"
        answer = client.post(SEARCH, json={"text": "a", "unlike": ["b", "c"]})
        assert answer.status_code == 413, "of a single search, too"
        assert client.post(SEARCH, json={"vector": [1.0] * 1280, "ids": ["a", "b"]}).status_code != 413


def test_a_batch_has_no_more_vectors_than_a_search(client: TestClient) -> None:
    query = {"vector": [1.0] * 1280, "limit": 400}
    assert client.post(BATCH, json={"queries": [query] * 3}).status_code == 200
    answer = client.post(BATCH, json={"queries": [{**query, "with_vector": True}] * 3})
    assert (answer.status_code, answer.json()["detail"][:38]) == (413, "1,200 hits with vectors in one request")
