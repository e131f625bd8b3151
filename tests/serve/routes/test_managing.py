"""Collections dropped and chosen over HTTP."""

from pathlib import Path

from fastapi.testclient import TestClient

import cbir
from tests.serve.conftest import AS_WRITER, WRITE, client_of
from tests.support.api import write_images


def test_a_dropped_collection_is_gone(writer: TestClient, tmp_path: Path) -> None:
    assert writer.get("/v1/collections/few/count").json() == {"count": 6}
    assert writer.delete("/v1/collections/few").json() == {"changed": 1}
    assert writer.get("/v1/collections/few/count").status_code == 404
    assert writer.delete("/v1/collections/few").status_code == 404
    assert cbir.collections(f"faiss:{tmp_path / 'index'}") == []


def test_the_rest_of_a_collection_can_be_dropped(tmp_path: Path) -> None:
    """Where an earlier request failed at the second store."""
    urls = [f"faiss:{tmp_path / name}?index=Flat" for name in ("a", "b")]
    with cbir.open(urls, "few", create=True) as few:
        few.add(write_images(str(tmp_path / "few"), 6, 3))
    with client_of(stores=tuple(urls), write_keys=(WRITE,)) as client:
        client.headers.update(AS_WRITER)
        cbir.drop(urls[0], "few")
        assert client.delete("/v1/collections/few").json() == {"changed": 1}
        assert client.delete("/v1/collections/few").status_code == 404
    assert cbir.collections(urls[1]) == []


def test_the_name_of_a_data_set_stands_for_the_chosen_collection_at_once(writer: TestClient, tmp_path: Path) -> None:
    for name in ("old", "new"):
        with cbir.open(f"faiss:{tmp_path / 'index'}?index=Flat", name, create=True) as opened:
            opened.add(next(tmp_path.glob("few")), dataset="shoes")
    for name in ("old", "new", "old"):
        assert writer.post(f"/v1/collections/{name}/use").json() == {"changed": 1}
        assert writer.get("/v1/collections/shoes").json()["collection"] == name


def test_the_chosen_collection_is_opened_by_default(writer: TestClient, tmp_path: Path) -> None:
    with cbir.open(f"faiss:{tmp_path / 'index'}?index=Flat", "newer", create=True) as newer:
        newer.add(next(tmp_path.glob("few")))
    assert writer.get("/v1/collections").json()["collections"][0]["collection"] == "newer"
    assert writer.post("/v1/collections/few/use").json() == {"changed": 1}
    assert writer.get("/v1/collections").json()["collections"][0]["collection"] == "few"
    assert writer.post("/v1/collections/nothing/use").status_code == 404
