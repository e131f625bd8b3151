"""What is special to a collection of a `cbir-serve`: requests of limited size. `test_base` has the rest."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cbir
from cbir.errors import UsageError
from cbir.settings import Settings
from cbir.stores.api.connection import ApiConnection
from cbir.stores.api.store import MOST_HITS, ApiStore
from cbir.stores.registry import open_store
from tests.support.api import write_images
from tests.support.building import unit_vectors
from tests.support.contract import COUNT, POINTS, fill_folder
from tests.support.http_api import serving


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    store = f"faiss:{tmp_path_factory.mktemp('store') / 'index'}?index=Flat"
    fill_folder([store])
    yield store


def opened(address: str) -> ApiStore:
    store = open_store(f"cbir+{address}/made", None, Settings())
    assert isinstance(store, ApiStore)
    return store


def test_large_requests_are_sent_in_parts(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    post = ApiConnection.post

    def counted(connection: ApiConnection, path: str, body: Any) -> Any:
        sent.append(len(body.get("queries", body.get("ids"))))
        return post(connection, path, body)

    monkeypatch.setattr(ApiConnection, "post", counted)
    queries = unit_vectors(250, 3)
    with serving(url, max_batch=40) as address:
        store, local = opened(address), open_store(url, "made", Settings())
        found, expected = store.search(queries, 5), local.search(queries, 5)
        assert [[hit.id for hit in hits] for hits in found] == [[hit.id for hit in hits] for hits in expected]
        assert sent[:3] == [100, 50, 25], "a server with a lower limit gets smaller parts"
        ids = [point.id for point in POINTS]
        assert store.payloads(ids) == [point.payload for point in POINTS]
    sent.clear()
    with serving(url) as address:
        store = opened(address)
        assert [point["key"] for point in store.payloads([point.id for point in POINTS])] == [
            point.payload["key"] for point in POINTS
        ]
        assert sent == [100] * (COUNT // 100)


def test_a_field_may_have_any_name(tmp_path: Path) -> None:
    names = ["a", "a#b", "x/../a", "price?", "50 %"]
    url = f"faiss:{tmp_path / 'index'}?index=Flat"
    with cbir.open(url, "made", create=True) as made:
        made.add(write_images(str(tmp_path / "few"), 2, 1))
        made.update({name: name for name in names}, filter="label!=nothing")
    with serving(url) as address:
        store = opened(address)
        assert [store.facet(name) for name in names] == [[(name, 2)] for name in names]


def test_a_search_for_more_hits_than_the_server_gives_is_refused(url: str) -> None:
    with serving(url) as address:
        store = opened(address)
        assert len(store.search(unit_vectors(1, 1), MOST_HITS)[0]) == COUNT
        with pytest.raises(UsageError, match="limit"):
            store.search(unit_vectors(1, 1), MOST_HITS + 1)


def test_points_come_whole_but_for_their_versions(url: str) -> None:
    with serving(url) as address:
        points = {point.id: point for point in opened(address).points()}
    assert points.keys() == {point.id for point in POINTS}
    for point in POINTS:
        found = points[point.id]
        assert np.allclose(found.vector, point.vector, atol=1e-6)
        assert (found.payload, found.thumbnail, found.digest) == (point.payload, point.thumbnail, point.digest)
