"""Fixtures for the tests of the public API."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import cbir
from cbir.settings import Settings
from cbir.stores.base import Store
from cbir.stores.registry import open_store
from tests.support import clusters
from tests.support.api import API_KEY, CATEGORIES, KINDS, PER_CATEGORY, Filled, opened
from tests.support.building import plan_for, qdrant_writer
from tests.support.contract import INDEXES, fill_folder, servers
from tests.support.examples import SampleImages, copy_folder
from tests.support.http_api import serving
from tests.support.qdrant_server import qdrant_server


@pytest.fixture(scope="session")
def emoji_folder(sample_images: SampleImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images of each of three categories: category/key.png."""
    root = tmp_path_factory.mktemp("api") / "emoji"
    for category in CATEGORIES:
        (root / category).mkdir(parents=True)
        for key, _, data in [image for image in sample_images if image[1] == category][:PER_CATEGORY]:
            (root / category / f"{key}.png").write_bytes(data)
    return root


@pytest.fixture(scope="session")
def query_file(emoji_folder: Path) -> Path:
    """A file that is in the collection."""
    return sorted((emoji_folder / "Flags").iterdir())[0]


@pytest.fixture(scope="session")
def filled_stores(
    emoji_folder: Path, sample_images: SampleImages, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Filled]]:
    """The same collection in a store of each kind."""
    root = tmp_path_factory.mktemp("stores")
    path, data, pil, array = [data for _, label, data in sample_images if label == "Symbols"][:4]
    (root / "path.png").write_bytes(path)
    images = [root / "path.png", data, opened(pil), np.asarray(opened(array))]
    with qdrant_server() as server, serving(f"faiss:{root / 'served'}", write_keys=(API_KEY,)) as address:
        urls = {"edge": f"{root / 'edge'}", "faiss": f"faiss:{root / 'faiss'}", "server": server.url}
        urls["api"] = f"cbir+{address}"
        yield {kind: Filled(url, emoji_folder, images) for kind, url in urls.items()}


@pytest.fixture(params=KINDS)
def filled(request: pytest.FixtureRequest, filled_stores: dict[str, Filled]) -> Filled:
    """Each of these collections."""
    return filled_stores[request.param]


@pytest.fixture(scope="session")
def opened_examples(
    example_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, cbir.Collection]]:
    """A copy of the folder of the examples, and its collection opened."""
    root = tmp_path_factory.mktemp("errors")
    copy_folder(example_folder, root)
    (root / "empty").mkdir()
    with cbir.open(root / "index") as photos:
        yield root, photos
        assert photos.verify() == []


@pytest.fixture
def example_photos(
    opened_examples: tuple[Path, cbir.Collection], monkeypatch: pytest.MonkeyPatch
) -> Iterator[cbir.Collection]:
    """The collection of the examples, which has to be the same afterwards."""
    root, photos = opened_examples
    monkeypatch.chdir(root)
    generation = photos.info.generation
    yield photos
    assert photos.count() == 300
    assert photos.info.generation == generation
    assert [found.condition for found in cbir.collections("./index")] == ["ready"]
    assert not Path("missing").exists()
    assert not Path("new").exists()


@pytest.fixture(scope="session")
def contract_stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Store]]:
    """The collection of `tests.support.contract` in every kind of store."""
    root = tmp_path_factory.mktemp("contract") / "index"
    urls = {kind: url.format(root=root) for kind, url in INDEXES.items()}
    fill_folder(list(urls.values()))
    with servers() as found:
        opened = {kind: open_store(url, "made", Settings()) for kind, url in urls.items()}
        for kind, place in found.items():
            place.fill()
            opened[kind] = place.open()
        yield opened
        for store in opened.values():
            store.close()


@pytest.fixture(scope="session")
def graph_stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Store]]:
    """The collection of `tests.support.clusters` in every kind of store."""
    urls = clusters.fill_folder(tmp_path_factory.mktemp("clusters") / "index")
    with qdrant_server() as server:
        urls["server"] = server.url
        qdrant_writer(server.url, plan_for(clusters.VECTORS), Settings()).write(clusters.POINTS)
        opened = {kind: open_store(url, "made", Settings()) for kind, url in urls.items()}
        yield opened
        for store in opened.values():
            store.close()


@pytest.fixture(params=clusters.KINDS)
def graph_store(request: pytest.FixtureRequest, graph_stores: dict[str, Store]) -> Store:
    """Each of these stores."""
    return graph_stores[request.param]
