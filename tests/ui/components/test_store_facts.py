"""What the page says of a store and of a collection."""

from dataclasses import replace

from cbir.ui.components import store_facts

from cbir.models.card import ModelRef
from cbir.stores.base import StoreInfo


def info(**changes: object) -> StoreInfo:
    model = ModelRef("lite0", "0" * 64, 8, 1, False)
    known = StoreInfo("edge:index", "photos", "000001", model, 1000, 1000, "graph", {"ef": "64"})
    return replace(known, **changes)  # type: ignore[arg-type]


def test_how_a_store_searched_is_said_in_words() -> None:
    assert store_facts.how_searched(info(), False, False) == (
        "Approximate search by the graph (ef 64); 1,000 of 1,000 images are indexed."
    )
    partly = store_facts.how_searched(info(indexed=900), False, True)
    assert partly == (
        "Approximate search by the graph (ef 64) of 900 images; the 100 that are not indexed were scanned."
        " The engine applied the filter."
    )
    assert (
        store_facts.how_searched(info(), True, False) == "Exact search: all 1,000 images were compared (as requested)."
    )
    scanned = store_facts.how_searched(info(access="scan", indexed=0, filtering="payload table"), False, True)
    assert scanned == (
        "Exact search: all 1,000 images were compared (this collection needs no graph)."
        " The payload table applied the filter."
    )
