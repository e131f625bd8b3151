"""The page's address."""

import re
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import pytest
import streamlit
from cbir.ui.query import address, state
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import idle, window
from tests.support.examples import SampleImages
from tests.support.visitor import DESKTOP, PHONE, K, headings, leave_sidebar, settled, tick, until, upload

ID, OTHER = "b6d7c0c4-6f0e-5d0e-9c43-1f6b1f0c8a51", "00000000-0000-5000-8000-000000000000"


def test_links_and_steps_back_are_adopted_but_not_the_address_of_the_page_itself(session: dict[str, object]) -> None:
    parameters = streamlit.query_params
    adopted: list[address.Parameters] = []
    read: Callable[[], None] = partial(address.read, adopted.append)
    parameters["like"], parameters["store"] = [ID], ["x"]
    read()
    read()
    assert adopted == [{"like": [ID]}], "a link is taken once, and what belongs to a widget is left alone"
    address.write({"like": [OTHER], "is.label": ["a", "b"], "to.year": []})
    assert dict(parameters) == {"like": [OTHER], "is.label": ["a", "b"], "store": ["x"]}
    read()
    address.write({"like": [OTHER]})
    assert parameters["is.label"] == []
    del parameters["is.label"]
    read()
    assert len(adopted) == 1, "what the page wrote itself says nothing new"
    parameters["like"] = [ID]
    read()
    assert adopted[1:] == [{"like": [ID]}], "a step back"
    del parameters["like"]
    session["arrived"] = True
    read()
    assert len(adopted) == 2, "another page had no query in its address"
    session["arrived"] = False
    address.write({"like": [OTHER]})
    del parameters["like"]
    read()
    assert adopted[2:] == [{"like": [ID]}], "a step back to where the visitor came from the other page"


def test_a_step_back_to_an_address_without_a_query_clears_it(session: dict[str, object]) -> None:
    session["page"] = "search"
    session["arrived"] = True
    read: Callable[[], None] = partial(address.read, lambda parameters: state.adopt(parameters))
    read()
    session["arrived"] = False
    for ref in (ID, OTHER):
        state.search_for(ref)
        read()
        address.write(state.to_address(state.current()))
    for parameters in ({"like": [ID]}, {}):
        for name in list(streamlit.query_params):
            del streamlit.query_params[name]
        streamlit.query_params.update(parameters)
        read()
        assert state.to_address(state.current())["like"] == parameters.get("like", [])


def test_parameters_of_old_links_get_their_present_names(session: dict[str, object]) -> None:
    assert address.renamed() is None
    streamlit.query_params.update({"least": ["0.5"], "group": ["label"], "like": [ID, OTHER]})
    assert address.renamed() == {"min_score": ["0.5"], "group_by": ["label"], "like": [ID, OTHER]}
    assert address.renamed() is None, "a step back to the old address stays there"


@pytest.mark.pages
def test_a_link_of_an_earlier_version_leads_to_the_same_search(desktop: Page, site: SimpleNamespace) -> None:
    desktop.locator(".tile").first.click()
    settled(desktop)
    like = re.findall("like=([0-9a-f-]{36})", desktop.url)[0]
    desktop.goto(f"{site.address}/?like={like}&least=0.1&group=label")
    expect(desktop.get_by_label("Minimum score")).to_have_value("0.10")
    expect(desktop.get_by_role("combobox", name="Group by")).to_have_value("label")
    expect(desktop.locator(".gallery h3").first).to_be_visible()
    expect(desktop).to_have_url(re.compile(r"min_score=0\.1"))
    expect(desktop).to_have_url(re.compile("group_by=label"))
    expect(desktop).not_to_have_url(re.compile("least|group="))
    desktop.goto(f"{site.address}/compare?like={like}&compared=4")
    expect(desktop.locator(".card")).to_have_count(8)
    expect(desktop).to_have_url(re.compile("limit=4"))


def only(page: Page, label: str) -> bool:
    """Whether there are hits, all of one class."""
    lines = page.locator(".card .subheading").all_inner_texts()
    return bool(lines) and all(label in line for line in lines)


@pytest.mark.pages
def test_a_search_can_be_shared_reloaded_and_gone_back_to(
    page: Page, browser: Browser, site: SimpleNamespace, sample_images: SampleImages
) -> None:
    upload(page, ("mine.png", sample_images[9][2]))
    settled(page)
    page.locator(".card").nth(1).get_by_role("button", name=re.compile("^Not like")).click()
    expect(page.locator(".example.unlike")).to_have_count(1)
    expect(page).to_have_url(re.compile("unlike="))
    idle(page)
    tick(page, "label", "Objects")
    leave_sidebar(page)
    until(page, lambda: only(page, "Objects"))
    found, address = headings(page), page.url
    for width in (DESKTOP, PHONE):
        with window(browser, width) as other:
            other.goto(address)
            expect(other.locator(".card")).to_have_count(len(found))
            assert headings(other) == found
            expect(other.locator(".example")).to_have_count(2)
    page.reload()
    expect(page.locator(".card")).to_have_count(len(found))
    assert headings(page) == found
    page.go_back()
    expect(page).not_to_have_url(re.compile("is.label="))
    expect(page.locator(".card")).to_have_count(K)
    page.go_back()
    expect(page.locator(".example")).to_have_count(1)
    page.go_back()
    expect(page.locator(".tile")).to_have_count(10)
    page.goto(f"{site.address}/?like=an-image-that-was-dropped")
    expect(page.get_by_role("alert")).to_contain_text("is no longer kept")
    expect(page.locator(".tile")).to_have_count(10)
