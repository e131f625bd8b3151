"""Reading over HTTP gives what Python gives."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

import cbir
from tests.serve.conftest import NAME, client_of
from tests.support.api import write_images

HERE = f"/v1/collections/{NAME}"


def test_collections_are_listed_without_paths(client: TestClient, photos: cbir.Collection, index: Path) -> None:
    answer = client.get("/v1/collections")
    (found,) = answer.json()["collections"]
    assert (found["collection"], found["points"], found["condition"]) == (NAME, photos.count(), "ready")
    facts = client.get(HERE).json()
    assert facts["model"]["name"] == "efficientnet_lite0" and facts["count"] == photos.count()
    assert str(index) not in answer.text + str(facts)


def test_fields_facets_and_counts(client: TestClient, photos: cbir.Collection) -> None:
    assert client.get(f"{HERE}/fields").json()["fields"] == photos.fields()
    values = client.get(f"{HERE}/facets/label", params={"limit": 3}).json()["values"]
    assert [(value["value"], value["count"]) for value in values] == photos.facet("label", limit=3)
    assert client.get(f"{HERE}/count").json() == {"count": photos.count()}
    assert client.get(f"{HERE}/count", params={"filter": "label=Flags"}).json() == {
        "count": photos.count("label=Flags")
    }


def test_pages_of_points_have_every_image_once(client: TestClient, photos: cbir.Collection) -> None:
    for filter in (None, "label=Flags"):
        found, after = [], None
        while True:
            params = {name: value for name, value in (("filter", filter), ("after", after), ("limit", 7)) if value}
            page = client.get(f"{HERE}/points", params=params).json()
            found += page["points"]
            after = page["next"]
            if after is None:
                break
        assert [point["id"] for point in found] == [image.id for image in photos.scroll(filter)]
        assert found[0]["payload"] == next(photos.scroll(filter)).payload


def test_a_point_is_found_by_id_and_by_key(client: TestClient, photos: cbir.Collection) -> None:
    image = next(photos.scroll())
    assert "/" in image.key
    for name in (image.id, image.key):
        answer = client.get(f"{HERE}/points/{name}", params={"with_vector": True}).json()
        assert (answer["id"], answer["payload"]) == (image.id, image.payload)
        assert answer["vector"] == pytest.approx(photos.vectors()[0].tolist())


def test_a_thumbnail_is_a_small_jpeg(client: TestClient, photos: cbir.Collection) -> None:
    image = next(photos.scroll())
    answer = client.get(f"{HERE}/points/{image.key}/thumbnail")
    assert answer.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(answer.content)).size == image.image().size


def test_the_file_is_given_as_it_was_stored(client: TestClient, photos: cbir.Collection) -> None:
    image = next(photos.scroll())
    answer = client.get(f"{HERE}/points/{image.id}/image")
    assert answer.headers["content-type"] == "image/png"
    assert hashlib.sha256(answer.content).hexdigest() == image.payload["sha256"]


def test_no_other_file_is_given(tmp_path: Path) -> None:
    """A key is chosen by whoever adds an image, and may lead out of the folder."""
    secret = tmp_path / "secret.png"
    Image.new("RGB", (8, 8), "blue").save(secret)
    folder = write_images(str(tmp_path / "photos"), 2, 1)
    url = f"faiss:{tmp_path / 'index'}?index=Flat"
    with cbir.open(url, "few", create=True) as few:
        few.add(folder)
        few.add([(folder / "c" / "0.png").read_bytes()], keys=["../secret.png"])
        few.add([(folder / "c" / "0.png").read_bytes()], keys=[str(secret)])
    with client_of(stores=(url,)) as client:
        assert client.get("/v1/collections/few/points/c/0.png/image").status_code == 200
        (folder / "c" / "1.png").write_bytes(secret.read_bytes())
        for key in ("../secret.png", str(secret), "c/1.png", "c/2.png"):
            with cbir.open(url, "few") as few:
                stored = few.get(key)
            name = stored.id if stored else key
            answer = client.get(f"/v1/collections/few/points/{name}/image")
            assert answer.status_code == 404, key
            assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("status", "path", "message"),
    [
        (404, "/points/nothing", "no image with the id or key"),
        (404, "/points/nothing/thumbnail", "no image with the id or key"),
        (404, "/points/..%2F..%2Fetc%2Fpasswd/image", "no image with the id or key"),
        (422, "/points?limit=0", "limit"),
        (422, "/points?after=x", "after must be the `next` of an answer"),
        (422, "/points?filter=labl%3Dx", "Nearest: label"),
        (422, "/count?filter=labl", "cannot be understood"),
        (422, "/facets/labl", "no image has a field 'labl'"),
        (404, "/nothing", "Not Found"),
    ],
)
def test_a_wrong_request_is_one_clear_problem(
    status: int, path: str, message: str, refused: Callable[..., str]
) -> None:
    assert message in refused(status, "GET", f"{HERE}{path}")


def test_a_dropped_collection_is_missing_and_a_new_one_is_found(tmp_path: Path) -> None:
    root = tmp_path / "index"
    with cbir.open(f"faiss:{root}?index=Flat", "first", create=True) as first:
        first.add(write_images(str(tmp_path / "a"), 3, 1))
    with client_of(stores=(f"faiss:{root}",)) as client:
        assert client.get("/v1/collections/first/count").json() == {"count": 3}
        assert client.get("/v1/collections/second/count").status_code == 404
        with cbir.open(f"faiss:{root}?index=Flat", "second", create=True) as second:
            second.add(write_images(str(tmp_path / "b"), 2, 2))
        assert client.get("/v1/collections/second/count").json() == {"count": 2}
        cbir.drop(f"faiss:{root}", "first")
        assert client.get("/v1/collections/first/facets/label").status_code == 404
