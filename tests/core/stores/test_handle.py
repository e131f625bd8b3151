"""An open store that follows what is published."""

from pathlib import Path

import pytest

from cbir.errors import UsageError
from cbir.filters.parser import parse_filter
from cbir.settings import Settings
from cbir.stores.embedded import faiss_index
from cbir.stores.handle import StoreHandle
from cbir.stores.registry import connect
from tests.support.building import build, merge, unit_vectors

VECTORS = unit_vectors(20)


def handle(folder: Path, name: str | None = "made") -> StoreHandle:
    """Return a handle of a collection in a FAISS index."""
    return StoreHandle(connect(f"faiss:{folder}", Settings()), name)


def test_a_store_is_opened_once_and_again_when_a_generation_is_published(tmp_path: Path) -> None:
    build([f"faiss:{tmp_path}"], VECTORS[:5])
    made = handle(tmp_path)
    first = made.get()
    assert made.get() is first
    assert made.opened().generation == "000001"
    build([f"faiss:{tmp_path}"], VECTORS, version="2")
    second = made.get()
    assert (second is first, made.opened().generation, made.opened().count) == (False, "000001", 20)
    assert len(first.search(VECTORS[:1], 9)[0]) == 5, "threads may still be searching the old store"
    made.close()


def test_what_is_stored_is_read_without_an_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build([f"faiss:{tmp_path}"], VECTORS[:5])
    made = handle(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(faiss_index, "open_index", None)
        records = made.records()
        assert (records.count(), records.count(parse_filter("label=class 1")), made.dataset()) == (5, 2, "set")
        build([f"faiss:{tmp_path}"], VECTORS)
        assert (records.count(), made.records().count()) == (5, 20)
    assert made.get() is made.records(), "an open store is used"
    made.close()
    with pytest.raises(UsageError, match="is closed"):
        made.records()


def test_the_next_generation_is_opened_aside(tmp_path: Path) -> None:
    build([f"faiss:{tmp_path}"], VECTORS[:5])
    made = handle(tmp_path)
    made.get()
    build([f"faiss:{tmp_path}"], VECTORS)
    merge(tmp_path)
    followed = made.get()
    assert (followed.info.generation, followed.info.count, followed.is_behind) == ("000001", 20, True)
    assert made._renewal is not None
    made._renewal.join()
    renewed = made.get()
    assert (renewed.info.generation, renewed.info.count, renewed.is_behind) == ("000002", 20, False)
    assert made.get() is renewed
    assert [hit.id for hit in renewed.search(VECTORS, 1)[7]] == [hit.id for hit in followed.search(VECTORS, 1)[7]]
    made.close()


def test_a_new_collection_is_empty_until_something_is_published(tmp_path: Path) -> None:
    nameless, named = handle(tmp_path, None), handle(tmp_path)
    assert not nameless.is_filled()
    assert not named.is_filled()
    with pytest.raises(UsageError, match="is empty; add images first"):
        nameless.get()
    build([f"faiss:{tmp_path}"], VECTORS)
    assert named.is_filled()


def test_a_closed_handle_opens_nothing(tmp_path: Path) -> None:
    handle(tmp_path).close()  # nothing was opened
    build([f"faiss:{tmp_path}"], VECTORS)
    made = handle(tmp_path)
    made.get()
    made.close()
    made.close()
    for call in (made.get, made.is_filled, made.opened):
        with pytest.raises(UsageError, match="is closed"):
            call()
