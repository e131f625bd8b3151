"""The ways to search by text and by image, in a real browser."""

import base64
import io
import re
from functools import partial

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.support.examples import SampleImages
from tests.support.visitor import COPY, DROP, PASTE, K, becomes, heading, headings, name_of, settled, upload
from tests.support.web_server import answer, serve


def test_an_uploaded_image_finds_itself_and_similar_ones(page: Page, sample_images: SampleImages) -> None:
    upload(page, ("mine.png", sample_images[9][2]))
    settled(page)
    expect(page.locator(".query h2")).to_have_text("mine.png")
    expect(heading(page, 1)).to_have_text(name_of(sample_images[9]))
    expect(page.locator(".card .score").first).to_contain_text("1.000")
    expect(page.locator(".card .badge")).to_have_text(["exact copy"])
    expect(page.locator(".note")).to_have_text(f"Exact copy found: {name_of(sample_images[9])}")
    for stage in ("decode", "preprocess", "model", "store"):
        expect(page.locator(".times")).to_contain_text(re.compile(rf"{stage} [\d.]+ ms"))
    spent = page.locator(".times span").all_inner_texts()
    page.get_by_role("button", name="Show more").click()
    settled(page, 2 * K)
    assert page.locator(".times span").all_inner_texts()[:3] == spent[:3], "embedded again"

    second = heading(page, 2).inner_text()
    page.locator(".card").nth(1).get_by_text("Similar images").click()
    expect(page.locator(".query h2")).to_have_text(second)
    settled(page)
    assert second not in headings(page)


def enter_text(page: Page, text: str) -> None:
    field = page.get_by_role("textbox", name="Search by text")
    expect(field).to_have_value("")
    field.fill(text)
    field.press("Enter")


def test_a_text_is_searched_for_from_the_field(page: Page) -> None:
    enter_text(page, "  a flag ")
    expect(page.locator(".query h2")).to_have_text("a flag")
    expect(page.locator(".query p").first).to_have_text("Text")
    expect(page.locator(".example .text")).to_have_text("a flag")
    settled(page)
    expect(page.locator(".card .subheading").first).to_contain_text("Flags")
    for stage in ("text model", "store"):
        expect(page.locator(".times")).to_contain_text(re.compile(rf"{stage} [\d.]+ ms"))
    expect(page.get_by_role("textbox", name="Search by text")).to_have_value("")
    expect(page).to_have_url(re.compile(r"[?&]text=a\+flag"))
    found = headings(page)
    page.reload()
    settled(page)
    assert headings(page) == found
    expect(page.locator(".query h2")).to_have_text("a flag")
    enter_text(page, "a red apple")
    expect(page.locator(".query h2")).to_have_text("a red apple")
    expect(page).to_have_url(re.compile(r"[?&]text=a\+red\+apple"))
    settled(page)
    page.go_back()
    expect(page.locator(".query h2")).to_have_text("a flag")
    becomes(page, found.__eq__)


@pytest.mark.pages
def test_an_empty_text_does_nothing(desktop: Page) -> None:
    enter_text(desktop, "   ")
    expect(desktop.get_by_role("textbox", name="Search by text")).to_have_value("")
    expect(desktop.locator(".tile")).to_have_count(10)
    expect(desktop.get_by_role("alert")).to_have_count(0)
    enter_text(desktop, "a flag")
    settled(desktop)
    enter_text(desktop, "  ")
    expect(desktop.get_by_role("textbox", name="Search by text")).to_have_value("")
    expect(desktop.locator(".query h2")).to_have_text("a flag")
    settled(desktop)


@pytest.mark.pages
def test_a_text_is_added_to_an_image(desktop: Page, sample_images: SampleImages) -> None:
    upload(desktop, ("mine.png", sample_images[9][2]))
    settled(desktop)
    by_image = headings(desktop)
    desktop.get_by_text("Add to query").click()
    expect(desktop.get_by_role("checkbox", name="Add to query")).to_be_checked()
    enter_text(desktop, "a flag")
    expect(desktop.locator(".example")).to_have_count(2)
    expect(desktop.locator(".query h2")).to_have_text("2 examples")
    expect(desktop.locator(".query")).to_contain_text("Like 2 of them")
    expect(desktop).to_have_url(re.compile(r"text=a\+flag"))
    becomes(desktop, lambda found: len(found) == K and found != by_image)
    for stage in ("text model", "decode", "store"):
        expect(desktop.locator(".times")).to_contain_text(stage)
    desktop.get_by_role("button", name="Clear", exact=True).click()
    expect(desktop.locator(".tile")).to_have_count(10)
    expect(desktop).not_to_have_url(re.compile("text="))


def test_several_images_are_dropped_and_searched_for_at_once(page: Page, sample_images: SampleImages) -> None:
    zone = page.get_by_test_id("stFileUploaderDropzone").element_handle()
    page.evaluate(DROP, [zone, "dropped.png", base64.b64encode(sample_images[9][2]).decode()])
    expect(page.locator(".query h2")).to_have_text("dropped.png")
    settled(page)
    page.get_by_text("Add to query").click()
    expect(page.get_by_role("checkbox", name="Add to query")).to_be_checked()
    upload(page, ("two.png", sample_images[40][2]), ("three.png", sample_images[80][2]))
    expect(page.locator(".example")).to_have_count(3)
    expect(page.locator(".query h2")).to_have_text("3 images")
    settled(page)
    names = {name_of(sample_images[index]) for index in (9, 40, 80)}
    assert names & set(headings(page)), "an average of three is near at least one of them"
    page.get_by_role("button", name="Clear", exact=True).click()
    expect(page.locator(".tile")).to_have_count(10)
    expect(page.locator(".card")).to_have_count(0)


def test_a_pasted_image_is_searched_for(page: Page, sample_images: SampleImages) -> None:
    expect(page.get_by_role("button", name="Paste", exact=True)).to_be_visible()
    page.evaluate(PASTE, ["image.png", "image/png", base64.b64encode(sample_images[20][2]).decode()])
    expect(page.locator(".query h2")).to_have_text("Pasted image")
    expect(heading(page, 1)).to_have_text(name_of(sample_images[20]))


def test_a_click_pastes_from_the_clipboard(page: Page, sample_images: SampleImages) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.bring_to_front()
    page.evaluate(COPY, base64.b64encode(sample_images[30][2]).decode())
    page.get_by_role("button", name="Paste", exact=True).click()
    expect(page.locator(".query h2")).to_have_text("Pasted image")
    expect(heading(page, 1)).to_have_text(name_of(sample_images[30]))


@pytest.mark.pages
def test_a_photo_is_taken_and_searched_for(page: Page) -> None:
    page.context.grant_permissions(["camera"])
    page.get_by_text("Camera", exact=True).click()
    page.wait_for_function("document.querySelector('video')?.readyState >= 3")
    shutter = page.get_by_role("button", name="Take Photo")
    shutter.click()
    expect(page.locator(".query h2")).to_have_text("Photo")
    settled(page)
    expect(shutter).to_have_count(0)


def test_the_image_at_a_url_is_searched_for_and_shared(page: Page, sample_images: SampleImages) -> None:
    with serve() as web:
        web.pages["/cats/tom.png"] = partial(answer, body=sample_images[50][2])
        box = page.get_by_role("textbox", name="Image URL")
        box.fill(f"{web.url}/cats/tom.png")
        box.press("Enter")
        expect(page.locator(".query h2")).to_have_text("tom.png")
        expect(heading(page, 1)).to_have_text(name_of(sample_images[50]))
        expect(page).to_have_url(re.compile("tom.png"))
        box.fill(f"{web.url}/none.png")
        box.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("The image at this URL cannot be used:")
        box.fill("/etc/passwd")
        box.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("one that begins with http:// or https://")


def test_a_random_image_of_the_collection_starts_a_search(page: Page) -> None:
    first = page.locator(".tile img").first.get_attribute("src")
    page.get_by_role("button", name="Shuffle").click()
    expect(page.locator(".tile img").first).not_to_have_attribute("src", first or "")
    page.locator(".tile").nth(2).click()
    settled(page)
    assert "?like=" in page.url


def test_an_unusable_image_is_an_error_in_a_sentence(page: Page, sample_images: SampleImages) -> None:
    upload(page, ("a_b*c.jpg", b"this is no image"))
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("a_b*c.jpg cannot be used: not an image of a known format.")
    page.evaluate(PASTE, ["big.png", "image/png", base64.b64encode(bytes(10 * 2**20 + 1)).decode()])
    expect(alert).to_contain_text("The pasted image cannot be used: larger than 10 MB.")
    bomb = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(bomb, "PNG")
    upload(page, ("bomb.png", bomb.getvalue()))
    expect(alert).to_contain_text("bomb.png cannot be used: too large: 10000 x 10000 is 100 megapixels")
    upload(page, ("mine.png", sample_images[3][2]))
    settled(page)
    expect(alert).to_have_count(0)
