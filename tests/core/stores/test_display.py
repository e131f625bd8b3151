"""Short names of stores."""

import pytest

from cbir.stores.display import display_names


@pytest.mark.parametrize(
    ("urls", "names"),
    [
        (["edge:./index", "faiss:./index/faiss"], ["Qdrant Edge · index", "FAISS · faiss"]),
        (["edge:/srv/a/index", "edge:/srv/b/index"], ["Qdrant Edge · a/index", "Qdrant Edge · b/index"]),
        (["edge:index", "edge:index?ef=16"], ["Qdrant Edge · index", "Qdrant Edge · index?ef=16"]),
        (["edge:a", "https://me:secret@host:6333"], ["Qdrant Edge · a", "https://host:6333"]),
        (["edge:a", "edge:a"], ["Qdrant Edge · a"]),
    ],
)
def test_stores_are_told_apart_by_as_little_as_needed(urls: list[str], names: list[str]) -> None:
    assert list(display_names(urls).values()) == names
