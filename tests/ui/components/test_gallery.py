"""The gallery."""

import numpy as np
import pytest
from cbir.ui.components import gallery
from cbir.ui.pages.search_page import SIMILARITIES
from playwright.sync_api import Page, expect

from cbir.search.score_calibration import of_pairs
from tests.support.examples import SampleImages
from tests.support.visitor import heading, headings, leave_sidebar, settled, sidebar, upload

ID, OTHER = "b6d7c0c4-6f0e-5d0e-9c43-1f6b1f0c8a51", "00000000-0000-5000-8000-000000000000"


def test_a_score_is_shown_as_a_share_of_all_pairs() -> None:
    scores = np.linspace(-0.5, 0.95, 10_000).astype(np.float32)
    calibration = of_pairs(scores, (scores > 0.5).astype(np.int8))
    assert gallery.share(0.5) == "top 50 %"
    assert gallery.share(0.9999) == "top 0.01 %"
    assert gallery.share(1.0) == "top <0.001 %"
    assert "Of the pairs with such a score, 100 % have the same label." in gallery.meaning(calibration, 0.9)
    assert gallery.share(calibration.percentile(calibration.score_at(SIMILARITIES["top 10 %"]))) == "top 10 %"
    unlabelled = of_pairs(scores, np.full(len(scores), -1, np.int8))
    assert "label" not in gallery.meaning(unlabelled, 0.9)


def test_a_score_of_a_text_is_one_of_a_word_and_an_image() -> None:
    scores = np.linspace(-0.5, 0.95, 10_000).astype(np.float32)
    calibration = of_pairs(scores, (scores > 0.5).astype(np.int8), of_texts=True)
    meaning = gallery.meaning(calibration, 0.9)
    assert "of pairs of a word and an image of this collection. Of the pairs with such a score, 100 % are" in meaning
    assert meaning.endswith("100 % are an image and its own label.")
    assert "of this collection's pairs." in gallery.meaning(of_pairs(scores, np.zeros(len(scores), np.int8)), 0.9)


def test_a_name_in_the_payload_is_the_heading() -> None:
    named = {"key": "k.png", "label": "cats", "name": "Tom"}
    assert (gallery.heading(named), gallery.subheading(named)) == ("Tom", "k.png · cats")
    bare = {"key": "k.png", "label": None, "name": np.nan}
    assert (gallery.heading(bare), gallery.subheading(bare)) == ("k.png", "")
    deep = {"key": "a/b/k.png", "label": "b"}
    assert (gallery.heading(deep), gallery.subheading(deep)) == ("k.png", "a/b/k.png · b")
    assert gallery.heading({"key": "a/"}) == "a/"


@pytest.mark.parametrize(
    "chosen",
    [
        None,
        7,
        "",
        [],
        ["search"],
        ["search", "x"],
        ["search", "../x"],
        ["drop", ID],
        ["search", ID.upper()],
        ["search", ID, "more"],
    ],
)
def test_an_unknown_action_is_ignored(chosen: object, session: dict[str, object]) -> None:
    heard: list[tuple[str, str]] = []
    act = gallery._on_act("gallery", lambda what, point_id: heard.append((what, point_id)))
    session["gallery"] = {"act": chosen}
    act()
    assert heard == []
    session["gallery"] = {"act": ["like", ID]}
    act()
    assert heard == [("like", ID)]


def test_the_large_view_shows_all_fields_and_has_previous_and_next(shop: Page) -> None:
    shop.locator(".tile").first.click()
    settled(shop)
    shop.locator(".card .frame").first.click()
    window = shop.get_by_role("dialog")
    expect(window.locator("h3")).to_have_text(heading(shop, 1).inner_text())
    for field in ("key", "label", "sha256", "name", "year", "new", "colour", "point"):
        expect(window.locator("dt").get_by_text(field, exact=True)).to_be_visible()
    expect(window).to_contain_text("of this collection's pairs")
    shop.keyboard.press("Tab")
    shop.keyboard.press("ArrowRight")
    expect(shop.get_by_role("dialog").locator("h3")).to_have_text(heading(shop, 2).inner_text())
    shop.keyboard.press("Escape")
    expect(shop.get_by_role("dialog")).to_have_count(0)


def test_near_duplicates_are_folded_on_demand(shop: Page, sample_images: SampleImages) -> None:
    upload(shop, ("first.png", sample_images[0][2]))
    settled(shop)
    assert set(headings(shop)[:3]) == {"Picture 0", "The copy", "The nearly"}
    expect(shop.locator(".card .badge")).to_have_count(2)
    sidebar(shop).get_by_text("Fold near-duplicates").click()
    leave_sidebar(shop)
    expect(shop.locator(".folded").first).to_contain_text("near-duplicate")
    settled(shop)
    assert len({"Picture 0", "The copy", "The nearly"} & set(headings(shop))) == 1
    shop.locator(".folded").first.click()
    expect(shop.get_by_role("dialog").locator(".strip .tile")).to_have_count(2)
    shop.keyboard.press("Escape")


def test_the_keyboard_alone_is_enough_for_a_search(desktop: Page) -> None:
    desktop.locator(".tile").first.focus()
    desktop.keyboard.press("Enter")
    settled(desktop)
    desktop.locator(".card .frame").first.focus()
    desktop.keyboard.press("Enter")
    expect(desktop.get_by_role("dialog")).to_be_visible()
    desktop.keyboard.press("Escape")
    expect(desktop.get_by_role("dialog")).to_have_count(0)
    assert desktop.evaluate("() => document.activeElement.shadowRoot.activeElement.className") == "frame", (
        "the focus comes back"
    )
