"""What the bench asks of store URLs."""

import pytest
from cbir.bench.core.stores import store_name


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
