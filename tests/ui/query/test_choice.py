"""The choice of a store and a collection."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from cbir.ui.query import choice
from cbir.ui.query.choice import Chosen
from playwright.sync_api import Page, WebSocket, expect
from streamlit.testing.v1 import AppTest

import cbir
from cbir.errors import CbirError, DamageError
from cbir.filters.conditions import Match
from cbir.settings import Settings
from cbir.stores.registry import connect
from tests.support.browser import run_again
from tests.support.building import build, unit_vectors
from tests.support.examples import SampleImages
from tests.support.visitor import ODD_NAME, choose, go, heading, sidebar, until, upload


def test_a_failed_search_leaves_the_collection_open_for_others(session: dict[str, object], index: Path) -> None:
    settings, url = Settings(), f"edge:{index}"
    (name,) = connect(url, settings).names()
    session |= {"store": url, "collection": name}
    opened = choice._open(url, name, settings)
    choice.forget_open(settings, CbirError("the embedded engine failed"))
    assert choice._open(url, name, settings) is opened
    choice.forget_open(settings, DamageError("a file is missing"))
    assert choice._open(url, name, settings) is not opened


def both_choices() -> None:
    """A page that chooses two collections."""
    import streamlit as st
    from cbir.ui.query import choice

    from cbir.settings import Settings

    chosen = [choice.choose(Settings(), suffix) for suffix in ("", "2")]
    st.markdown(", ".join(side.info.collection for side in chosen if side))


def test_a_second_choice_starts_with_the_collection_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [f"edge:{tmp_path}/one", f"edge:{tmp_path}/two"]
    for url, names in zip(urls, (("a", "b"), ("b", "a")), strict=True):
        for name in names:
            build([url], unit_vectors(5), name)
    monkeypatch.setenv("CBIR_STORES", ",".join(urls))
    page = AppTest.from_function(both_choices).run()
    assert page.markdown[0].value == "b, b"
    page.selectbox(key="collection2").select("a").run()
    assert page.markdown[0].value == "b, a"


def test_an_empty_store_shows_how_to_fill_it(page: Page) -> None:
    choose(page, "Store", "Qdrant Edge · empty")
    expect(page.get_by_text("cbir-ingest sample://openmoji --store edge:empty")).to_be_visible()


@pytest.mark.parametrize(
    ("store", "sentence"),
    [
        ("Qdrant Edge · damaged", "The index of this collection is damaged and not served"),
        ("http://127.0.0.1:1", "127.0.0.1:1"),
    ],
)
def test_a_store_that_fails_does_not_break_the_page(
    desktop: Page, site: SimpleNamespace, store: str, sentence: str
) -> None:
    choose(desktop, "Store", store)
    alert = desktop.get_by_role("alert")
    expect(alert).to_contain_text(sentence)
    for secret in (str(site.folder), "secret", "Traceback"):
        assert secret not in desktop.content()
    choose(desktop, "Store", "Qdrant Edge · index")
    expect(desktop.locator(".tile")).to_have_count(10)
    expect(alert).to_have_count(0)


def test_a_new_generation_is_served_without_a_restart_and_names_are_shown_literally(
    desktop: Page, site: SimpleNamespace, sample_images: SampleImages
) -> None:
    choose(desktop, "Store", "Qdrant Edge · growing")
    expect(desktop.locator(".tile")).to_have_count(5)
    upload(desktop, ("odd.png", sample_images[4][2]))
    expect(desktop.locator(".card")).to_have_count(5)
    expect(heading(desktop, 1)).to_have_text(ODD_NAME)
    desktop.locator(".card").first.get_by_text("Similar images").click()
    expect(desktop.locator(".query h2")).to_have_text(ODD_NAME)

    (site.grown / "new.png").write_bytes(sample_images[50][2])
    site.grow()
    desktop.locator(".card").first.get_by_text("Similar images").click()
    expect(sidebar(desktop)).to_contain_text("000001, change 2")
    upload(desktop, ("new.png", sample_images[50][2]))
    expect(desktop.locator(".card .heading").first).to_have_text("new.png")
    (views,) = site.folder.glob("growing/*/views")
    until(desktop, lambda: len(list(views.glob("*.lock"))) == 1)  # the old generation is closed


def searching(page: Page, fragile_site: SimpleNamespace, name: str) -> WebSocket:
    """Choose a store on the search page, and return the page's connection to the server."""
    with page.expect_websocket() as opened:
        go(page, fragile_site.address, "", "Find similar images")
    box = page.get_by_role("combobox", name="Store")
    expect(page.locator(".tile")).to_have_count(10)
    if box.input_value() != name:
        with run_again(page, opened.value):
            box.click()
            page.get_by_role("option", name=name, exact=True).click()
    expect(box).to_have_value(name)
    expect(page.locator(".tile")).to_have_count(10)
    return opened.value


def fails_and_comes_back(
    page: Page, connection: WebSocket, fragile_site: SimpleNamespace, sentence: str, back: Callable[[], object]
) -> None:
    """Check that a search fails with a sentence, and that the same page continues after `back`."""
    page.evaluate("window.here = true")
    page.get_by_role("button", name="Shuffle").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text(sentence)
    for secret in (str(fragile_site.folder), "Traceback"):
        assert secret not in page.content()
    # A browser may still have the address of an earlier query when a page fails; it must not bring that query back.
    page.evaluate("history.replaceState(null, '', '?like=00000000-0000-4000-8000-000000000000')")
    with run_again(page, connection):
        page.get_by_role("button", name="Try again").click()
    expect(alert).to_contain_text(sentence)
    back()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".tile")).to_have_count(10)
    expect(alert).to_have_count(0)
    page.locator(".tile").nth(1).click()
    expect(page.locator(".card").first).to_be_visible()
    page.get_by_role("button", name="Clear", exact=True).click()
    expect(page.locator(".tile")).to_have_count(10)
    assert page.evaluate("window.here"), "the page was reloaded"


def test_the_page_survives_a_missing_folder(desktop_tab: Page, fragile_site: SimpleNamespace) -> None:
    folder, away = fragile_site.folder / "moving", fragile_site.folder / "away"
    connection = searching(desktop_tab, fragile_site, "Qdrant Edge · moving")
    folder.rename(away)
    fails_and_comes_back(
        desktop_tab,
        connection,
        fragile_site,
        "Qdrant Edge · moving has no collections any more",
        partial(away.rename, folder),
    )
    folder.rename(away)
    copied = fragile_site.folder / "another"
    shutil.copytree(away, copied, ignore=shutil.ignore_patterns("views"))
    shutil.rmtree(away)
    fails_and_comes_back(
        desktop_tab, connection, fragile_site, "has no collections any more", partial(copied.rename, folder)
    )
    assert len(list(folder.glob("*/views/*.lock"))) <= 1, "the missing one is still open"


def test_the_page_survives_a_server_outage(desktop_tab: Page, fragile_site: SimpleNamespace) -> None:
    connection = searching(desktop_tab, fragile_site, fragile_site.server.url)
    fragile_site.server.stop_listening()
    fails_and_comes_back(desktop_tab, connection, fragile_site, "cannot be reached", fragile_site.server.listen)
    fragile_site.server.inject(status=503, times=-1)
    fails_and_comes_back(desktop_tab, connection, fragile_site, "answered 503", lambda: fragile_site.server.configure())


@pytest.fixture
def chosen(index: Path) -> Iterator[Chosen]:
    with cbir.open(f"edge:{index}") as collection:
        yield Chosen(collection, collection.info)


def test_fields_and_facets_are_those_of_the_collection(chosen: Chosen) -> None:
    assert choice.fields(chosen) == chosen.collection.fields()
    counts = choice.facet(chosen, "label", (), 100)
    assert counts == chosen.collection.facet("label", limit=100)
    label, count = counts[0]
    assert choice.facet(chosen, "label", (Match("label", (label,)),), 100) == [(label, count)]


def test_a_seed_chooses_the_sample(chosen: Chosen) -> None:
    first = choice.sample(chosen, 10, 0)
    assert len(set(first)) == 10
    assert choice.sample(chosen, 10, 0) == first
    assert choice.sample(chosen, 10, 1) != first


def test_the_calibration_is_computed_once_for_each_generation(chosen: Chosen) -> None:
    calibration = choice.score_calibration(chosen)
    assert choice.score_calibration(Chosen(chosen.collection, replace(chosen.info, count=1))) is calibration
    newer = Chosen(chosen.collection, replace(chosen.info, generation="000002"))
    assert choice.score_calibration(newer) is not calibration
    of_texts = choice.text_calibration(chosen)
    assert of_texts.of_texts and not calibration.of_texts
    assert choice.text_calibration(Chosen(chosen.collection, replace(chosen.info, count=1))) is of_texts
    assert choice.text_calibration(newer) is not of_texts
