"""What a collection stores is read without its index, and is what the open store has."""

from pathlib import Path

import pytest

from cbir.errors import DamageError, UsageError
from cbir.filters.parser import parse_filter
from cbir.index import layout
from cbir.settings import Settings
from cbir.stores.registry import connect
from tests.support.building import build, points_of, unit_vectors

VECTORS = unit_vectors(30)
CLASS = parse_filter("label=class 1")


def test_records_are_those_of_the_open_store(tmp_path: Path) -> None:
    url = f"faiss:{tmp_path}"
    build([url], VECTORS[:20])
    build([url], VECTORS, version="2")
    catalog = connect(url, Settings())
    store = catalog.open("made")
    (index,) = (tmp_path / "made" / "000001").rglob("*.faiss")
    index.unlink()
    records = catalog.records("made")
    ids = [points_of(VECTORS)[number].id for number in (3, 25)]
    assert records.payloads([*ids, "0" * 32]) == [*store.payloads(ids), None]
    assert (records.count(), records.count(CLASS)) == (30, store.count(CLASS))
    assert records.fields() == store.fields() != {}
    assert records.scroll(CLASS) == store.scroll(CLASS) != []
    assert records.scroll(after=ids[0], limit=4) == store.scroll(after=ids[0], limit=4)
    assert records.model() == store.model()
    store.close()


def test_an_index_that_the_collection_lacks_is_an_error(tmp_path: Path) -> None:
    build([f"faiss:{tmp_path}"], VECTORS)
    with pytest.raises(UsageError, match="has no edge index"):
        connect(f"edge:{tmp_path}", Settings()).records("made")
    with pytest.raises(UsageError, match="was built with index=HNSW16"):
        connect(f"faiss:{tmp_path}?index=Flat", Settings()).records("made")


def test_a_damaged_log_is_not_read(tmp_path: Path) -> None:
    build([f"faiss:{tmp_path}"], VECTORS)
    (segment,) = (tmp_path / "made" / "000001" / layout.LOG).iterdir()
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    with pytest.raises(DamageError, match="collections repair"):
        connect(f"faiss:{tmp_path}", Settings()).records("made")
