"""The map page, in a real browser."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import streamlit
from cbir.ui.pages import map_page
from cbir.ui.query.choice import Chosen
from playwright.sync_api import Page, expect
from streamlit.runtime.caching import cache_utils

import cbir
from cbir.settings import Settings
from tests.support.browser import scrolls_no_way_sideways, still
from tests.support.building import plan_for, points_of, qdrant_writer, unit_vectors
from tests.support.qdrant_points import publish
from tests.support.qdrant_server import qdrant_server
from tests.support.visitor import assert_hits_are_shown, points, until

IN_SIGHT = """nodes => nodes.findIndex(node => {
    const box = node.getBoundingClientRect();
    return document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2) === node;
})"""


def test_a_click_on_a_point_shows_similar_images_and_leads_to_the_search(tab: Page, site: SimpleNamespace) -> None:
    tab.goto(f"{site.address}/map")
    expect(tab.get_by_text(re.compile(r"All 3\d\d images, by their first two principal components"))).to_be_visible()
    expect(tab.get_by_text("Click a point to see its image")).to_be_visible()
    shown = points(tab)
    everywhere = shown.nth(0).get_attribute("transform")
    box = tab.get_by_test_id("stVegaLiteChart").bounding_box()
    assert box
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + 200)
    tab.mouse.wheel(0, -300)
    expect(shown.nth(0)).not_to_have_attribute("transform", everywhere or "")
    still(tab)
    zoomed = shown.evaluate_all("nodes => nodes.map(node => node.getAttribute('transform'))")
    index = shown.evaluate_all(IN_SIGHT)
    shown.nth(index).click()
    expect(tab.locator(".tile")).to_have_count(13)
    label = shown.nth(index).get_attribute("aria-label") or ""
    name = re.findall("name: (.+?);", label)[0]
    expect(tab.get_by_test_id("stMain").get_by_text(name, exact=True)).to_be_visible()
    assert shown.evaluate_all("nodes => nodes.map(node => node.getAttribute('transform'))") == zoomed
    scores = [float(text) for text in tab.locator(".caption").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    scrolls_no_way_sideways(tab)
    picture = tab.locator(".tile img").first.get_attribute("src")
    tab.get_by_role("button", name="Search for this image").click()
    assert_hits_are_shown(tab, picture)


def test_the_browser_does_not_learn_where_the_index_is(tab: Page, site: SimpleNamespace, index: Path) -> None:
    frames: list[bytes] = []
    keep = lambda frame: frames.append(frame if isinstance(frame, bytes) else frame.encode())  # noqa: E731
    tab.on("websocket", lambda socket: (socket.on("framereceived", keep), socket.on("framesent", keep)))
    tab.goto(f"{site.address}/map")
    expect(points(tab).first).to_be_attached()
    assert b"similar images near each other" in b"".join(frames)
    for path in (index, site.folder):
        assert str(path).encode() not in b"".join(frames)


def test_the_address_holds_the_field_that_colours_the_map(tab: Page, site: SimpleNamespace) -> None:
    tab.goto(f"{site.address}/map?colour=label")
    expect(tab.get_by_test_id("stMain").get_by_role("combobox", name="Colour by")).to_have_value("label")
    expect(points(tab).nth(299)).to_be_attached()
    looks = points(tab).evaluate_all("nodes => nodes.map(node => [node.getAttribute('fill'), node.getAttribute('d')])")
    assert len({tuple(look) for look in looks}) == 9, "each class has its own colour and shape"


def test_the_map_of_a_server_is_drawn_again_after_some_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(cache_utils, "TTLCACHE_TIMER", lambda: now[0])
    streamlit.cache_resource.clear()  # a cache gets its clock when it is made
    plan, vectors = plan_for(unit_vectors(20)), unit_vectors(20)
    with qdrant_server() as server:

        def fill(version: str) -> None:
            writer = qdrant_writer(server.url, plan, Settings())
            writer.write(points_of(vectors, version))
            publish(writer)
            writer.close()

        fill("1")
        with cbir.open(server.url) as made:
            chosen = Chosen(made, made.info)
            before = map_page._cloud(chosen)
            vectors[3] *= -1
            fill("2")
            assert map_page._cloud(chosen) is before
            now[0] += 601
            after = map_page._cloud(chosen)
    streamlit.cache_resource.clear()
    assert after.digest != before.digest
    assert not np.allclose(after.positions, before.positions)


def test_the_map_stays_usable_while_umap_is_computed(desktop_tab: Page, site: SimpleNamespace) -> None:
    desktop_tab.goto(f"{site.address}/map?store=Qdrant+Edge+%C2%B7+unlabelled")
    expect(points(desktop_tab).first).to_be_visible()
    before = points(desktop_tab).nth(0).get_attribute("transform")
    desktop_tab.get_by_role("radio", name="UMAP").click()
    expect(desktop_tab.get_by_text("Computing UMAP, which takes a minute or two")).to_be_visible()
    points(desktop_tab).nth(points(desktop_tab).evaluate_all(IN_SIGHT)).click()
    expect(desktop_tab.locator(".tile")).to_have_count(13)
    expect(desktop_tab.get_by_text("by UMAP, which keeps neighbours together")).to_be_visible(timeout=900_000)
    expect(desktop_tab).to_have_url(re.compile("projection=UMAP"))
    until(desktop_tab, lambda: points(desktop_tab).nth(0).get_attribute("transform") != before)
    desktop_tab.reload()  # it is kept
    expect(desktop_tab.get_by_text("by UMAP, which keeps neighbours together")).to_be_visible()
    expect(desktop_tab.get_by_text("Computing UMAP, which takes a minute or two")).to_have_count(0)
