"""What all stores share: ids, the order of hits, the collection that is opened."""

from pathlib import Path

import numpy as np
import pytest

from cbir.errors import UsageError
from cbir.records import Hit
from cbir.settings import Settings
from cbir.stores.checks import Chosen, Row, best_hits, check_id, check_query, no_collection, open_name
from cbir.stores.registry import connect
from tests.support.building import build, unit_vectors

FOUND = [(0.9, "b"), (0.5, "c"), (0.5, "a"), (0.1, "d")]


@pytest.mark.parametrize(("k", "more", "named"), [(4, [], "acbd"), (3, [], "acbd"), (2, [6], "acbd"), (1, [], "")])
def test_hits_are_ordered_by_score_then_id(k: int, more: list[int], named: str) -> None:
    """An engine keeps any of the hits with equal scores, so more are fetched while the scores are equal.

    The first row has no equal scores, and is in order.
    """
    sizes, read = [], set[str]()

    def rows(wanted: int) -> Row[str]:
        return [score for score, _ in FOUND[:wanted]], [name for _, name in FOUND[:wanted]]

    def fetch(chosen: Chosen, wanted: int) -> list[Row[str]]:
        sizes.append(wanted)
        return [([0.4, 0.3], ["x", "y"]), rows(wanted)] if chosen == slice(None) else [rows(wanted)] * len(chosen)

    def name(item: str) -> str:
        read.add(item)
        return item

    def hits_of(scores: list[float], items: list[str]) -> list[Hit]:
        return [Hit(item, {}, score) for score, item in zip(scores, items, strict=True)]

    first, second = best_hits(fetch, k, name, hits_of)
    assert [hit.id for hit in first] == ["x", "y"][:k]
    assert [(hit.score, hit.id) for hit in second] == sorted(FOUND, key=lambda pair: (-pair[0], pair[1]))[:k]
    assert sizes == [k + 1, *more]
    assert read == set(named), "ids are read to put equal scores in order, and for nothing else"


@pytest.mark.parametrize(
    ("shape", "fill", "k", "message"),
    [
        ((8,), 0, 1, r"the query has shape \(8,\), but the collection's vectors have 8 dimensions"),
        ((1, 7), 0, 1, "but the collection's vectors have 8 dimensions"),
        ((1, 8), np.inf, 1, "the query vector is not finite"),
        ((1, 8), 0, 0, "k must be at least 1, not 0"),
    ],
)
def test_a_query_that_no_store_can_answer_is_refused(shape: tuple[int, ...], fill: float, k: int, message: str) -> None:
    check_query(np.zeros((2, 8), np.float32), 1, 8)
    vectors = np.zeros(shape, np.float32)
    vectors.flat[-1] = fill
    with pytest.raises(UsageError, match=message):
        check_query(vectors, k, 8)


def test_an_id_is_a_uuid() -> None:
    check_id(None)
    check_id("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
    for text in ("6ba7b810", "6ba7b810-9dad-11d1-80b4-00c04fd430cg", "x"):
        with pytest.raises(UsageError, match="is not an id"):
            check_id(text)


def test_the_newest_collection_is_opened_unless_one_is_named(tmp_path: Path) -> None:
    for name in ("first", "second"):
        build([f"edge:{tmp_path}/index"], unit_vectors(3), name)
    catalog = connect(f"edge:{tmp_path}/index", Settings())
    assert open_name(catalog, None) == open_name(catalog, "set") == "second"
    assert open_name(catalog, "first") == "first"
    with pytest.raises(UsageError, match="invalid collection name"):
        open_name(catalog, "../index")


def test_the_error_for_an_empty_store_says_how_to_fill_it() -> None:
    catalog = connect("https://user:secret@qdrant.example", Settings())
    expected = "No collection found at https://qdrant.example. Create one with: cbir-ingest SOURCE --store"
    assert str(no_collection(catalog)) == f"{expected} https://qdrant.example"
    with_model = str(no_collection(catalog, "tiny"))
    assert with_model.startswith("No collection made with tiny found at")
    assert with_model.endswith("--store https://qdrant.example --model tiny")
