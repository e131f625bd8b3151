"""Collections are opened once, and found by the names that clients use."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cbir.serve.collections import FRESH_SECONDS, OpenCollections
from cbir.serve.settings import ServeSettings
from starlette.exceptions import HTTPException

import cbir
from cbir.index.layout import POINTER
from cbir.stores.base import Catalog, Plan
from cbir.stores.registry import connect, connect_all
from tests.serve.conftest import NAME
from tests.support.api import write_images


def opened(*stores: str) -> OpenCollections:
    settings = ServeSettings(_env_file=None, stores=stores)
    return OpenCollections(connect_all(stores, settings), settings)


def test_a_collection_is_opened_once_whatever_its_name(index: Path) -> None:
    found = opened(f"faiss:{index}/faiss", f"edge:{index}")
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(found.open, [NAME, "photos"] * 8))) == 1
    assert found.fresh(NAME) is found.fresh("photos") is found.open(NAME)
    assert set(found.facts()) == {NAME}
    found.close()


def test_a_missing_collection_is_404_and_a_wrong_name_422(index: Path) -> None:
    found = opened(f"faiss:{index}/faiss")
    for name, status in (("nothing", 404), ("../../etc", 422), ("", 422), ("a/b", 422)):
        with pytest.raises(HTTPException) as error:
            found.open(name)
        assert error.value.status_code == status
        assert found.fresh(name) is None


def test_the_name_of_a_data_set_is_followed(tmp_path: Path) -> None:
    url = f"faiss:{tmp_path / 'index'}?index=Flat"
    for name, count in (("old", 2), ("new", 3)):
        with cbir.open(url, name, create=True) as photos:
            photos.add(write_images(str(tmp_path / name), count, count), dataset="photos")
    catalog = connect(url, ServeSettings(_env_file=None))
    catalog.use("old")
    found = opened(url)
    assert found.open("photos").count() == 2
    catalog.use("new")
    assert found.open("photos").count() == 3
    time.sleep(FRESH_SECONDS)
    assert found.fresh("photos") is None, "the store is read again after a moment"
    old = found.open("old")
    catalog.drop("old")
    assert set(found.facts()) == {"new"}
    with pytest.raises(cbir.UsageError, match="closed"):
        old.count()
    with pytest.raises(HTTPException, match="404"):
        found.open("old")
    found.close()


def test_a_collection_does_not_wait_for_another(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, opening, reached = opened(f"faiss:{index}/faiss"), threading.Event(), threading.Event()
    catalog_type, plan = type(found._catalog), type(found._catalog).plan

    def slow(catalog: Catalog, name: str) -> Plan | None:
        if name == "slow":
            reached.set()
            assert opening.wait(60)
        return plan(catalog, name)

    monkeypatch.setattr(catalog_type, "plan", slow)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(found.open, "slow")
        assert reached.wait(60)
        assert found.open(NAME).count() > 0
        assert set(found.facts()) == {NAME}
        assert not waiting.done()
        opening.set()
        with pytest.raises(HTTPException, match="404"):
            waiting.result()
    found.close()


def test_a_damaged_collection_hides_no_facts_about_others(tmp_path: Path) -> None:
    url = f"faiss:{tmp_path / 'index'}?index=Flat"
    found = opened(url)
    for name in ("first", "second"):
        with cbir.open(url, name, create=True) as photos:
            photos.add(write_images(str(tmp_path / name), 2, 1))
        found.open(name)
    (tmp_path / "index" / "first" / POINTER).write_text("damaged")
    assert set(found.facts()) == {"second"}
    found.close()
