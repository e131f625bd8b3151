"""Collections and models are opened once, and follow what is published."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cbir.serve.service import Service
from cbir.serve.settings import ServeSettings
from fastapi.testclient import TestClient

import cbir
from cbir.models.embedder import Embedder
from cbir.search.examples import Clock
from tests.serve.conftest import NAME, client_of
from tests.support.api import write_images
from tests.support.examples import SampleImages


def service_of(*stores: str) -> Service:
    return Service(ServeSettings(_env_file=None, stores=stores, precision="fp32"))


def test_a_collection_and_its_model_are_opened_once(index: Path) -> None:
    service = service_of(f"faiss:{index}/faiss", f"edge:{index}")
    with ThreadPoolExecutor(8) as pool:
        found = service.collections.open(NAME)
        assert len(set(pool.map(service.model, [found] * 16))) == 1
    assert service.default() == NAME
    service.close()


def test_concurrent_images_share_runs_of_the_model(
    index: Path, sample_images: SampleImages, photos: cbir.Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    run = Embedder.run

    def counted(embedder: Embedder, pixels: object) -> object:
        sizes.append(len(pixels))  # type: ignore[arg-type]
        return run(embedder, pixels)  # type: ignore[arg-type]

    service = service_of(f"faiss:{index}/faiss")
    collection = service.collections.open(NAME)
    expected = photos.embedder.embed([data for _, _, data in sample_images[:40]])
    monkeypatch.setattr(Embedder, "run", counted)

    async def main() -> list[object]:
        return await asyncio.gather(
            *(service.embed_image(data, collection, Clock()) for _, _, data in sample_images[:40])
        )

    vectors = asyncio.run(main())
    assert sum(sizes) == 40 and len(sizes) < 40 and max(sizes) <= 8
    assert all(float(a @ b) > 0.9999 for a, b in zip(vectors, expected, strict=True))
    service.close()


def test_requests_go_on_while_new_generations_are_published(tmp_path: Path) -> None:
    url = f"faiss:{tmp_path / 'index'}"
    folder = write_images(str(tmp_path / "photos"), 30, 7)
    with cbir.open(url, "few", create=True) as few, ThreadPoolExecutor(4) as pool:
        few.add(folder)
        key = next(few.scroll()).key
        with client_of(stores=(url,)) as client:
            search, body = "/v1/collections/few/search", {"ids": [key], "limit": 5}
            running = [pool.submit(client.post, search, json=body) for _ in range(100)]
            for number in range(5):
                few.add([next(folder.rglob("*.png")).read_bytes()], keys=[f"more {number}"])
                few.optimize()
                running += [pool.submit(client.post, search, json=body) for _ in range(20)]
            assert {future.result().status_code for future in running} == {200}
            assert client.get("/v1/collections/few/count").json() == {"count": 35}


def test_a_url_is_fetched_within_the_limits(client: TestClient, index: Path) -> None:
    service = service_of(f"faiss:{index}/faiss")
    with pytest.raises(cbir.ImageError, match="private address"):
        asyncio.run(service.fetch("http://127.0.0.1:9/a.png", Clock()))
    service.close()
