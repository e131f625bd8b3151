"""What the page says of a store and of a collection."""

from dataclasses import replace
from pathlib import Path

import pytest
from cbir.ui.components import store_facts

from cbir.images.decode import PREPROCESSING_VERSION
from cbir.models.card import ModelRef
from cbir.models.embedder import Embedder
from cbir.stores.base import StoreInfo
from cbir.stores.listing import CollectionInfo
from tests.support.trainings import trained_card


def info(**changes: object) -> StoreInfo:
    model = ModelRef("lite0", "0" * 64, 8, 1, False)
    known = StoreInfo("edge:index", "photos", "000001", model, 1000, 1000, "graph", {"ef": "64"})
    return replace(known, **changes)  # type: ignore[arg-type]


def test_the_kind_of_search_is_described_in_words() -> None:
    assert store_facts.how_searched(info(), False, False) == (
        "Approximate search by the graph (ef 64); 1,000 of 1,000 images are indexed."
    )
    partly = store_facts.how_searched(info(indexed=900), False, True)
    assert partly == (
        "Approximate search by the graph (ef 64) of 900 images; the 100 that are not indexed are scanned."
        " The engine applied the filter."
    )
    assert store_facts.how_searched(info(), True, False) == "Exact search of all 1,000 images (as requested)."
    scanned = store_facts.how_searched(info(access="scan", indexed=0, filtering="payload table"), False, True)
    assert scanned == ("Exact search of all 1,000 images (no graph index). The payload table applied the filter.")


LISTED = CollectionInfo("photos", "./index", alias="photos", points=1000, source="./photos", generation="000001")
MODEL = ModelRef("lite0", "0" * 64, 8, PREPROCESSING_VERSION, False)


def test_a_summary_leaves_out_missing_facts() -> None:
    assert store_facts.summary(LISTED) == [("Images", "1,000"), ("Source", "./photos"), ("Generation", "000001")]
    full = replace(LISTED, dataset="pets", indexed=9, megabytes=1234, created="2026-01-02T03:04:05+00:00")
    assert dict(store_facts.summary(full)) == {
        "Images": "1,000, 9 of them indexed",
        "Data set": "pets (this collection is in use)",
        "Source": "./photos",
        "On disk": "1,234 MB",
        "Generation": "000001",
        "Created": "2026-01-02 03:04:05 UTC",
    }


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"made_by": replace(MODEL, random_weights=True)}, "random weights"),
        ({"made_by": replace(MODEL, preprocessing=0)}, "preprocessing version 0"),
        ({"condition": "damaged"}, "`cbir-ingest verify --store edge:pets` lists the bad files"),
        ({"condition": "unfinished", "run": "running"}, "first ingest is running"),
        ({"condition": "unfinished", "run": "interrupted"}, "`cbir-ingest ./photos --store edge:pets`"),
        ({"run": "interrupted"}, "last ingest was interrupted"),
        ({"condition": "indexing"}, "still indexing"),
    ],
)
def test_a_problem_is_one_warning_with_what_to_do(changes: dict[str, object], text: str) -> None:
    assert store_facts.warnings(replace(LISTED, made_by=MODEL), "edge:pets", verifies=True) == []
    (warning,) = store_facts.warnings(replace(LISTED, **changes), "edge:pets", verifies=True)  # type: ignore[arg-type]
    assert text in warning


def test_a_server_is_verified_by_its_log_and_a_password_is_never_shown() -> None:
    damaged = replace(LISTED, condition="damaged", source="a`b")
    (warning,) = store_facts.warnings(damaged, "http://me:secret@host:6333", verifies=False)
    assert "Look at the server's log" in warning
    assert "secret" not in warning
    assert "a'b" in warning


def test_the_card_of_a_model_is_listed_where_its_file_is_known(model_file: Path) -> None:
    listed = replace(LISTED, made_by=MODEL)
    assert store_facts.model(LISTED, None) == []
    assert dict(store_facts.model(listed, None))["Card"].startswith("not available")
    rows = dict(store_facts.model(listed, Embedder(model_file).card))
    assert rows["Model"] == "lite0, 8 dimensions"
    assert rows["Licence"] == "Apache-2.0"


def test_a_trained_model_says_how_well_it_found() -> None:
    rows = dict(store_facts.model(replace(LISTED, made_by=MODEL), trained_card()))
    assert rows["Trained"] == "train on 700 images of photos, test P@5 0.9000, loss softmax, best of 3 epochs"
