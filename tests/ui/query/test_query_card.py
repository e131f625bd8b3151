"""The query's card, in a real browser: its images are cropped, turned and removed."""

import re

import pytest
from cbir.ui.query import query_card, state
from cbir.ui.query.images import ReadyExample
from cbir.ui.query.state import Example
from playwright.sync_api import Page, expect

from tests.support.examples import SampleImages
from tests.support.visitor import K, becomes, heading, headings, name_of, settled, upload


def ready(sign: state.Sign, title: str) -> ReadyExample:
    return ReadyExample(Example(title, sign=sign), title, "a line", None, None, "")


def test_a_query_is_titled_by_its_image_or_by_their_number() -> None:
    assert query_card.heading([ready("like", "fox.png")]) == ("fox.png", "a line")
    several = [ready("like", "fox.png"), ready("like", "cat.png"), ready("unlike", "dog.png")]
    assert query_card.heading(several) == ("3 images", "Like 2 of them, not like 1")
    assert query_card.heading(several[:2]) == ("2 images", "Like 2 of them")
    text = ReadyExample(Example("red heart", words=True), "red heart", "Text", None, None, "")
    assert query_card.heading([text]) == ("red heart", "Text")
    assert query_card.heading([*several, text]) == ("4 examples", "Like 3 of them, not like 1")
    assert query_card.heading([text, text]) == ("2 examples", "Like 2 of them")


@pytest.mark.parametrize(
    "action", [None, 7, [], ["remove"], ["remove", "0", None], ["drop", 0, None], ["remove", 5, None]]
)
def test_an_impossible_change_is_ignored(action: object, session: dict[str, object]) -> None:
    state.search((Example("a"), Example("b")))
    session["query_card"] = {"act": action}
    query_card._acted()
    assert state.current() == (Example("a"), Example("b"))
    session["query_card"] = {"act": ["remove", 0, None]}
    query_card._acted()
    assert state.current() == (Example("b"),)


def test_a_part_of_an_image_is_searched_for(page: Page, sample_images: SampleImages) -> None:
    upload(page, ("mine.png", sample_images[9][2]))
    settled(page)
    whole = page.locator(".example img").get_attribute("src")
    page.get_by_role("button", name="Search by a part of mine.png").click()
    window = page.get_by_role("dialog")
    expect(window.locator(".cropframe img")).to_have_js_property("complete", True)
    frame = window.locator(".cropframe").bounding_box()
    assert frame is not None
    x, y, width, height = frame["x"], frame["y"], frame["width"], frame["height"]
    page.mouse.move(x + width * 0.1, y + height * 0.1)
    page.mouse.down()
    page.mouse.move(x + width * 0.6, y + height * 0.5, steps=4)
    page.mouse.up()
    window.get_by_role("button", name="Search by this part").click()
    expect(page.locator(".query p").first).to_have_text("A part of the uploaded image")
    expect(page.locator(".example img")).not_to_have_attribute("src", whole or "")
    expect(page).to_have_url(re.compile(r"like=[\w-]+%40(9|10|11)%2C(9|10|11)%2C(59|60|61)%2C(49|50|51)"))
    expect(page.locator(".note")).to_have_count(0)
    settled(page)

    page.get_by_role("button", name="Search by a part of mine.png").click()
    box = page.get_by_role("dialog").locator(".part")
    before = box.get_attribute("aria-label")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    assert box.get_attribute("aria-label") != before, "the keys move the box"
    page.get_by_role("dialog").get_by_role("button", name="Whole image").click()
    expect(page.locator(".query p").first).to_have_text("Uploaded image")
    expect(heading(page, 1)).to_have_text(name_of(sample_images[9]))


def test_hits_become_positives_and_negatives(page: Page) -> None:
    page.locator(".tile").first.click()
    settled(page)
    plain = headings(page)
    page.locator(".card").nth(1).get_by_role("button", name=re.compile("^Not like")).click()
    expect(page.locator(".example.unlike")).to_have_count(1)
    expect(page.locator(".query")).to_contain_text("Like 1 of them, not like 1")
    assert plain[1] not in becomes(page, lambda found: len(found) == K and found != plain)
    page.locator(".card").nth(2).get_by_role("button", name=re.compile("^Like ")).click()
    expect(page.locator(".example.like")).to_have_count(2)
    settled(page)
    page.locator(".example.unlike").get_by_role("button", name=re.compile("^Like ")).click()
    expect(page.locator(".example.like")).to_have_count(3)
    for left in (2, 1):
        page.locator(".example").last.get_by_role("button", name=re.compile("from the query$")).click()
        expect(page.locator(".example")).to_have_count(left)
    becomes(page, plain.__eq__)


@pytest.mark.pages
def test_a_text_is_turned_and_removed_but_not_cropped(desktop: Page, sample_images: SampleImages) -> None:
    field = desktop.get_by_role("textbox", name="Search by text")
    field.fill("a flag")
    field.press("Enter")
    expect(desktop.locator(".example .text")).to_have_text("a flag")
    settled(desktop)
    flags = headings(desktop)
    expect(desktop.locator(".example").get_by_role("button")).to_have_count(1)  # it can only be removed
    desktop.locator(".card").first.get_by_role("button", name=re.compile("^Like ")).click()
    expect(desktop.locator(".example")).to_have_count(2)
    expect(desktop.locator(".query h2")).to_have_text("2 examples")
    expect(desktop.locator(".example").get_by_role("button", name=re.compile("^Search by a part of"))).to_have_count(1)
    desktop.get_by_role("button", name="Not like a flag").click()
    expect(desktop.locator(".example.unlike .text")).to_have_text("a flag")
    expect(desktop.locator(".query")).to_contain_text("Like 1 of them, not like 1")
    expect(desktop).to_have_url(re.compile(r"unlike_text=a\+flag"))
    expect(desktop).not_to_have_url(re.compile(r"[?&]text="))
    becomes(desktop, lambda found: len(found) == K and set(found[:12]) != set(flags[:12]))
    desktop.get_by_role("button", name="Like a flag", exact=True).click()
    expect(desktop.locator(".example.like .text")).to_have_text("a flag")
    desktop.get_by_role("button", name="Remove a flag from the query").click()
    expect(desktop.locator(".example .text")).to_have_count(0)
    expect(desktop.locator(".example img")).to_have_count(1)
    expect(desktop).not_to_have_url(re.compile("text="))
