"""The classes page, in a real browser."""

import re
from types import SimpleNamespace

from playwright.sync_api import Page, expect

from tests.support.browser import idle, scrolls_no_way_sideways, still
from tests.support.visitor import assert_hits_are_shown, points


def test_a_click_on_a_failing_query_searches_for_it(tab: Page, site: SimpleNamespace) -> None:
    tab.goto(f"{site.address}/classes")
    expect(tab.get_by_role("heading", name="Failing queries")).to_be_visible()
    for metric in ("Precision@5", "Hit rate@5", "MRR@5"):
        value = tab.get_by_test_id("stMetric").filter(has_text=metric).get_by_test_id("stMetricValue")
        assert 0 < float(value.inner_text()) <= 1
    expect(tab.get_by_test_id("stDataFrame")).to_be_visible()
    expect(tab.get_by_test_id("stVegaLiteChart")).to_be_visible()
    expect(tab.locator(".caption").first).to_have_text(re.compile(r"^.+ · 0 of 5$"))
    scrolls_no_way_sideways(tab)
    tile = tab.locator(".tile").first
    picture = tile.locator("img").get_attribute("src")
    tile.click()
    assert_hits_are_shown(tab, picture)


def test_selecting_a_row_selects_the_class_and_writes_the_address(tab: Page, site: SimpleNamespace) -> None:
    tab.goto(f"{site.address}/classes?class=Flags&store=FAISS+%C2%B7+faiss")
    chosen = tab.get_by_test_id("stMain").get_by_role("combobox", name="Class")
    expect(chosen).to_have_value("Flags")
    table = tab.get_by_test_id("stDataFrame")
    table.scroll_into_view_if_needed()
    idle(tab)
    still(tab)
    tile = tab.locator(".tile").first
    picture = tile.locator("img").get_attribute("src")
    cells = table.locator("canvas").first.bounding_box()
    assert cells
    tab.mouse.click(cells["x"] + 15, cells["y"] + 1.5 * cells["height"] / 10)  # the first of nine classes
    expect(tab).to_have_url(re.compile("class=People-Body"))
    expect(chosen).to_have_value("People-Body")
    expect(tile.locator("img")).not_to_have_attribute("src", picture or "")
    idle(tab)
    tile.click()
    expect(tab.locator(".card")).to_have_count(24)
    expect(tab).to_have_url(re.compile("store=FAISS"))  # the search is in the store that was judged


def test_images_without_labels_have_no_classes_but_a_map(tab: Page, site: SimpleNamespace) -> None:
    tab.goto(f"{site.address}/classes?store=Qdrant+Edge+%C2%B7+unlabelled")
    expect(tab.get_by_text("The images of this collection have no labels")).to_be_visible()
    expect(tab.get_by_text("cbir-ingest data.parquet --label COLUMN")).to_be_visible()
    tab.goto(f"{site.address}/map?store=Qdrant+Edge+%C2%B7+unlabelled")
    expect(points(tab)).to_have_count(17)


def test_an_empty_store_shows_how_to_fill_it(tab: Page, site: SimpleNamespace) -> None:
    for path in ("classes", "map"):
        tab.goto(f"{site.address}/{path}?store=Qdrant+Edge+%C2%B7+empty")
        expect(tab.get_by_text("cbir-ingest sample://openmoji --store edge:empty")).to_be_visible()
