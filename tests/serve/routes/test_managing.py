"""Collections dropped and chosen over HTTP."""

from pathlib import Path

from fastapi.testclient import TestClient

import cbir


def test_a_dropped_collection_is_gone(writer: TestClient, tmp_path: Path) -> None:
    assert writer.get("/v1/collections/few/count").json() == {"count": 6}
    assert writer.delete("/v1/collections/few").json() == {"changed": 1}
    assert writer.get("/v1/collections/few/count").status_code == 404
    assert writer.delete("/v1/collections/few").status_code == 404
    assert cbir.collections(f"faiss:{tmp_path / 'index'}") == []


def test_the_chosen_collection_is_opened_by_default(writer: TestClient, tmp_path: Path) -> None:
    with cbir.open(f"faiss:{tmp_path / 'index'}?index=Flat", "newer", create=True) as newer:
        newer.add(next(tmp_path.glob("few")))
    assert writer.get("/v1/collections").json()["collections"][0]["collection"] == "newer"
    assert writer.post("/v1/collections/few/use").json() == {"changed": 1}
    assert writer.get("/v1/collections").json()["collections"][0]["collection"] == "few"
    assert writer.post("/v1/collections/nothing/use").status_code == 404
