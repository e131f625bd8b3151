"""What the bench reads from store URLs."""

from dataclasses import replace
from pathlib import Path

import pytest
from cbir.bench.core.stores import (
    bare_search,
    copied_url,
    default_ef,
    ef_values,
    engine_of,
    identity,
    index_folder,
    kind_of,
    location_of,
    store_name,
    unique_names,
)

from cbir.errors import UsageError
from cbir.stores.base import Store
from tests.support.bench_stores import VECTORS
from tests.support.building import both

SERVER = "http://localhost:6333"


def test_stores_that_would_share_a_name_are_numbered() -> None:
    assert kind_of(SERVER) == "server"
    assert unique_names(["edge:a", SERVER, "edge:b"], kind_of) == {
        "edge:a": "edge 1", SERVER: "server", "edge:b": "edge 2",
    }  # fmt: skip
    urls = ["edge:/a/index", "faiss:/a/index/flat", "edge:/b/index", "edge:/c/1", "http://a:6333", "http://b:6333"]
    names = ["edge 2", "faiss flat", "edge 3", "edge 1", "server 1", "server 2"]
    assert list(unique_names(urls).values()) == names


def test_a_server_has_no_folder(store: Store) -> None:
    assert location_of(SERVER) is None
    assert index_folder(replace(store.info, url=SERVER)) is None
    with pytest.raises(UsageError, match="is a server"):
        engine_of(SERVER, 8)


def test_an_embedded_store_has_its_folder(made: Path, store: Store, tmp_path: Path) -> None:
    folder = index_folder(store.info)
    assert folder == made / "made" / store.info.generation / "edge"
    assert folder.is_dir()
    location = location_of(f"faiss:{made}/lists?nprobe=4")
    assert location is not None
    assert copied_url(location, tmp_path) == f"faiss:{tmp_path}/lists?nprobe=4"


def test_two_urls_of_one_store(made: Path) -> None:
    edge, faiss = both(made)
    assert identity(edge) == identity(f"{edge}/edge?ef=128")
    assert identity(edge) != identity(f"{edge}?ef=64")
    assert identity(edge) != identity(faiss)
    assert identity("http://me:secret@host:1") == identity("http://host:1/")


def test_the_bare_call_of_an_engine_returns_something(store: Store) -> None:
    call = bare_search(store, VECTORS[3], 5)
    assert call is not None and call()


def test_ef_values(store: Store) -> None:
    graph = replace(store.info, access="graph", options={"ef": "100"})
    assert ef_values(graph, [1, 2, 50], 5) == [5, 50], "a search that cannot hold the hits is widened"
    assert ef_values(graph, [], 20)[:2] == [20, 24]
    assert 100 in ef_values(graph, [], 20), "the store's own default is measured, too"
    assert ef_values(replace(graph, access="ivf", options={"nprobe": "3"}), [], 20)[:4] == [1, 2, 3, 4]
    assert ef_values(replace(graph, access="scan"), [16], 20) == [None]
    assert (default_ef(graph), default_ef(replace(graph, access="scan"))) == (100, None)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("edge:/home/ann/index", "edge"),
        ("faiss:/home/ann/index/faiss", "faiss"),
        ("faiss:./index/flat?index=Flat", "faiss flat index=Flat"),
        ("https://ann:secret@host:6333", "server"),
    ],
)
def test_a_store_is_named_without_where_it_is(url: str, name: str) -> None:
    assert store_name(url) == name
