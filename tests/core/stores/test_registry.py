"""From store URLs to catalogs."""

from pathlib import Path

import pytest

from cbir.errors import CbirError, UsageError
from cbir.settings import Settings, split_stores
from cbir.stores.registry import BACKENDS, as_list, connect, connect_all, open_store


def test_an_unreachable_server_is_one_line() -> None:
    with pytest.raises(CbirError, match="http://localhost:9 cannot be reached"):
        open_store("http://localhost:9", None, Settings())


def test_every_scheme_has_a_backend() -> None:
    assert set(BACKENDS) == {"edge", "faiss", "http", "https", "cbir+http", "cbir+https"}


def test_urls_in_one_folder_share_a_catalog_and_the_order_is_kept(tmp_path: Path) -> None:
    folder, other, server = f"edge:{tmp_path}/a", tmp_path / "b", "http://localhost:6333"
    catalogs = connect_all([server, folder, other, f"faiss:{tmp_path}/a/flat"], Settings())
    assert [catalog.urls for catalog in catalogs] == [
        (server,),
        (folder, f"faiss:{tmp_path}/a/flat"),
        (f"edge:{other}",),
    ]
    assert [catalog.files for catalog in catalogs] == [None, tmp_path / "a", other]
    assert [catalog.keeps_model for catalog in catalogs] == [False, True, True]
    assert not (tmp_path / "a").exists(), "nothing is created yet"


def test_a_list_of_stores_is_read_back_as_these_stores() -> None:
    stores = [Path("a"), "./b", "faiss:i?index=IVF8,Flat", "cbir+https://h/photos", "http://h:6333"]
    assert split_stores(as_list(stores)) == ("edge:a", "edge:./b", *stores[2:])


def test_one_server_cannot_be_named_twice() -> None:
    with pytest.raises(UsageError, match="the same store twice: http://localhost:6333, http://localhost:6333/"):
        connect_all(["http://localhost:6333", "http://me:pw@localhost:6333/"], Settings())


def test_a_password_is_not_part_of_an_address() -> None:
    assert connect("https://me:pw@qdrant.example/", Settings()).address == "https://qdrant.example"
