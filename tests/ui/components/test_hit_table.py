"""Hits as CSV and JSON."""

import csv
import io
import json

from cbir.ui.components import hit_table
from playwright.sync_api import Page

from cbir.models.card import ModelRef
from cbir.results import Hit, HitGroup, Hits
from cbir.stores.base import StoreInfo
from tests.support.examples import SampleImages
from tests.support.visitor import headings, settled, upload

ID, OTHER = "b6d7c0c4-6f0e-5d0e-9c43-1f6b1f0c8a51", "00000000-0000-5000-8000-000000000000"


HITS = Hits(
    [
        Hit(ID, {"key": "a.png", "label": "cats", "sha256": "0", "name": '=HYPERLINK("http://x")', "year": 7}, 0.75),
        Hit(OTHER, {"key": "b, c.png", "label": None, "sha256": "1", "tags": ["x", "ü"]}, 0.5),
    ]
)


def test_csv_has_a_column_for_each_field_and_no_formula() -> None:
    rows = list(csv.reader(io.StringIO(hit_table.as_csv(HITS))))
    assert rows[0] == ["rank", "score", "point", "key", "label", "sha256", "name", "year", "tags"]
    assert rows[1] == ["1", "0.75", ID, "a.png", "cats", "0", '\'=HYPERLINK("http://x")', "7", ""]
    assert rows[2] == ["2", "0.5", OTHER, "b, c.png", "", "1", "", "", '["x","ü"]']


def test_groups_have_ranks_of_their_own() -> None:
    groups = [HitGroup("cats", [HITS[0]]), HitGroup(None, [HITS[1]])]
    rows = list(csv.reader(io.StringIO(hit_table.as_csv(Hits(list(HITS), groups)))))
    assert [row[:4] for row in rows] == [
        ["group", "rank", "score", "point"],
        ["cats", "1", "0.75", ID],
        ["", "1", "0.5", OTHER],
    ]


def test_json_contains_every_fact_of_the_search() -> None:
    model = ModelRef("lite0", "0" * 64, 8, 1, False)
    info = StoreInfo("edge:index", "photos", "000001", model, 1000, 1000, "graph", {"ef": "64"})
    found = json.loads(hit_table.as_json(Hits(list(HITS), milliseconds={"store": 1.23456}), info, "graph"))
    assert [hit["payload"]["key"] for hit in found["hits"]] == ["a.png", "b, c.png"]
    assert (found["milliseconds"], found["access"], found["collection"]) == ({"store": 1.235}, "graph", "photos")


def test_hits_are_downloaded_as_csv_and_json(desktop: Page, sample_images: SampleImages) -> None:
    upload(desktop, ("mine.png", sample_images[9][2]))
    settled(desktop)
    with desktop.expect_download() as download:
        desktop.get_by_role("button", name="Download CSV").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
    assert [row["key"].rpartition("/")[2] for row in rows] == headings(desktop)
    with desktop.expect_download() as download:
        desktop.get_by_role("button", name="Download JSON").click()
    found = json.loads(download.value.path().read_text())
    assert [hit["key"] for hit in found["hits"]] == [row["key"] for row in rows]
    assert set(found["milliseconds"]) == {"decode", "preprocess", "model", "store"}
