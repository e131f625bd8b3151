"""Filters of the page."""

import json
import re
from pathlib import Path

import pytest
from cbir.ui.components import web
from cbir.ui.query import filter_panel
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

import cbir
from cbir.filters.conditions import FieldKind, Match, Range
from tests.support.visitor import facet, leave_sidebar, settled, sidebar, tick, until


def test_a_filter_is_read_from_and_written_to_the_address(session: dict[str, object]) -> None:
    fields = {"label": FieldKind.TEXT, "year": FieldKind.NUMBER, "new": FieldKind.TRUTH}
    parameters = {"is.label": ["a", "7"], "from.year": ["2001"], "to.year": ["nonsense"], "is.new": ["true"]}
    session["is.old"] = ["x"]
    filter_panel.adopt(parameters)
    assert filter_panel.selected(fields) == (
        Match("label", ("a", "7", 7)),
        Range("year", gte=2001.0, lte=None),
        Match("new", ("true", True)),
    )
    assert filter_panel.selected(fields, without="label")[0] == Range("year", gte=2001.0, lte=None)
    del parameters["to.year"]
    assert filter_panel.parameters(fields) == parameters
    exact = {"from.year": ["20240150"], "to.year": ["0.1234567"]}
    filter_panel.adopt(exact)
    assert filter_panel.parameters(fields) == exact
    assert filter_panel.in_words(filter_panel.selected(fields)) == "year from 20240150 to 0.1234567"
    filter_panel.adopt({})
    assert filter_panel.selected(fields) == ()
    assert session["is.old"] == []
    filter_panel.adopt({"from.year": ["nan"], "to.year": ["-inf"], "is.label": ["99999999999999999999"]})
    assert filter_panel.selected(fields) == (Match("label", ("99999999999999999999",)),)


def draw_panel() -> None:
    """Draw the panel, as a page of its own, for the collection in the session."""
    import streamlit as st
    from cbir.ui.query import filter_panel
    from cbir.ui.query.choice import Chosen

    collection = st.session_state["collection"]
    st.session_state["filter"] = filter_panel.draw(Chosen(collection, collection.info))


def test_the_values_of_a_field_are_counted_without_its_own_filter(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, dict[str, int]] = {}
    monkeypatch.setattr(web, "facet", lambda field, counts, ticked, choose, cut: drawn.update({field: counts}))
    page = AppTest.from_function(draw_panel, default_timeout=60)
    with cbir.open(index) as photos:
        every = {str(value): count for value, count in photos.facet("label")}
        first, *_ = every
        page.session_state["collection"] = photos
        page.session_state["is.label"] = [first]
        page.run()
    assert not page.exception
    assert page.session_state["filter"] == (Match("label", (first,)),)
    assert drawn["label"] == every and len(every) > 1


def test_filters_show_counts_and_restrict_the_hits(shop: Page) -> None:
    shop.locator(".tile").first.click()
    settled(shop)
    assert facet(shop, "colour") == {"red": 29, "green": 27, "blue": 26}
    tick(shop, "colour", "green")
    sidebar(shop).get_by_label("year from").fill("2005")
    shop.keyboard.press("Enter")
    expect(shop).to_have_url(re.compile(r"from\.year=2005"))
    until(shop, lambda: 0 < sum(facet(shop, "new").values()) < 27)  # counted among what the other filters leave
    narrowed = facet(shop, "new")
    tick(shop, "new", "false")
    leave_sidebar(shop)
    expect(shop).to_have_url(re.compile(r"is\.colour=green.*from\.year=2005|from\.year=2005.*is\.colour=green"))
    expect(shop.get_by_text("applied the filter. Only colour green, new false, year from 2005.")).to_be_visible()
    expect(shop.locator(".card")).to_have_count(narrowed["false"])
    with shop.expect_download() as download:
        shop.get_by_role("button", name="Download JSON").click()
    found = json.loads(download.value.path().read_text())["hits"]
    assert len(found) == narrowed["false"]
    for hit in found:
        payload = hit["payload"]
        assert (payload["colour"], payload["new"], payload["year"] >= 2005) == ("green", False, True)
    sidebar(shop).get_by_role("button", name="Clear filters").click()
    leave_sidebar(shop)
    settled(shop)
