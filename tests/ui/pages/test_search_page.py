"""The search page, in a real browser."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from cbir.ui.launch import PAGE as APP
from cbir.ui.pages import search_page
from cbir.ui.pages.search_page import exact_copies
from cbir.ui.query.images import ReadyExample
from cbir.ui.query.state import Example
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

import cbir
from cbir.collection import Collection
from cbir.results import Hits
from cbir.search.score_calibration import calibrate, calibrate_texts
from tests.support.api import write_images
from tests.support.examples import SampleImages
from tests.support.onnx_file import cast, node, write_model
from tests.support.visitor import (
    K,
    becomes,
    choose,
    headings,
    leave_sidebar,
    scores,
    settled,
    shares,
    sidebar,
    still,
    until,
    upload,
)


def key_of(picture: tuple[str, str | None, bytes]) -> str:
    key, label, _ = picture
    return f"{str(label).replace(' & ', '-')}/{key}.png"


@pytest.fixture(params=["edge:{}", "faiss:{}/faiss"])
def photos(index: Path, request: pytest.FixtureRequest) -> Iterator[Collection]:
    with cbir.open(request.param.format(index)) as opened:
        yield opened


def test_exact_copies_are_found_even_where_a_filter_hides_them(photos: Collection, sample_images: SampleImages) -> None:
    data = sample_images[5][2]
    vector, sha256 = photos.embed(data), hashlib.sha256(data).hexdigest()
    example = ReadyExample(Example("a"), "a.png", "", None, None, vector, sha256)
    for hits in (Hits(), photos.search(vector, limit=3)):
        assert [hit.key for hit in exact_copies(photos, example, hits)] == [key_of(sample_images[5])]
    assert exact_copies(photos, replace(example, sha256="0" * 64), Hits()) == []


def draw_options() -> None:
    """Draw the options of the sidebar, as a page of their own, for the collection in the session."""
    import streamlit as st
    from cbir.ui.pages import search_page
    from cbir.ui.query.choice import Chosen

    collection = st.session_state["collection"]
    examples = st.session_state["examples"]
    st.session_state["options"] = search_page._options(Chosen(collection, collection.info), examples)


def test_the_stricter_of_similarity_and_minimum_score_counts(photos: Collection) -> None:
    page = AppTest.from_function(draw_options, default_timeout=60)
    page.session_state["collection"], page.session_state["examples"] = photos, []
    required = calibrate(photos.store).score_at(0.9)
    for similarity, given, expected in (
        ("any", None, None),
        ("any", 0.3, 0.3),
        ("top 10 %", None, required),
        ("top 10 %", 0.99, 0.99),
        ("top 10 %", -0.5, required),
    ):
        page.session_state["similarity"], page.session_state["min_score"] = similarity, given
        page.run()
        assert not page.exception
        assert page.session_state["options"].min_score == expected


def test_similarity_has_a_meaning_of_its_own_for_texts(photos: Collection) -> None:
    page = AppTest.from_function(draw_options, default_timeout=60)
    page.session_state["collection"], page.session_state["similarity"] = photos, "top 10 %"
    required = calibrate_texts(photos.store, photos.embedder.embed_text).score_at(0.9)
    assert required < calibrate(photos.store).score_at(0.9) - 0.05
    text = ReadyExample(Example("red", words=True), "red", "Text", None, None, photos.embedder.embed_text(["red"])[0])
    page.session_state["examples"] = [text]
    page.run()
    assert not page.exception
    assert page.session_state["options"].min_score == required


@pytest.fixture
def without_tower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The whole page, with a collection of a model without a text tower."""
    nodes = [cast("images", "floats"), node("Flatten", "floats", "flat"), node("LpNormalization", "flat", "embeddings")]
    url = f"edge:{tmp_path / 'index'}"
    with cbir.open(url, create=True, model=write_model(tmp_path / "made.onnx", nodes)) as photos:
        photos.add(write_images("photos", 12, 1))
        (point_id,) = photos.store.sample(1, 1)
    monkeypatch.setenv("CBIR_STORES", url)
    page = AppTest.from_file(APP, default_timeout=60)
    page.session_state["point_id"], page.session_state["url"] = point_id, url
    return page


def test_a_text_for_a_model_without_text_tower_is_an_error_on_the_page(without_tower: AppTest) -> None:
    page = without_tower
    page.query_params["text"] = "red heart"
    page.run()
    assert not page.exception
    (error,) = page.error
    assert "has no text tower" in error.value and "efficientnet" in error.value
    assert "/" not in error.value
    assert page.session_state["query"] == ()
    page.text_input(key="text_field").set_value("blue").run()
    assert not page.exception and len(page.error) == 1


def test_an_image_that_hits_should_not_be_like_needs_no_text_tower(without_tower: AppTest) -> None:
    page = without_tower
    page.query_params["unlike"] = page.session_state["point_id"]
    page.session_state["similarity"] = "top 10 %"
    page.run()
    assert not page.exception and not page.error
    assert page.session_state["query"] == (Example(page.session_state["point_id"], sign="unlike"),)


def test_what_is_left_behind_folded_images_can_be_shown(without_tower: AppTest) -> None:
    page, limit = without_tower, 2 * search_page.PAGE
    with cbir.open(str(page.session_state["url"])) as photos:
        (number,) = photos.store.sample(1, 1)
        image = photos.get(number).image()
        photos.add([image] * limit, keys=[f"copy {i}" for i in range(limit)])
    page.query_params["like"], page.query_params["fold"] = number, "true"
    page.run()
    assert not page.exception
    assert "**1 similar image**" in [text.value for text in page.markdown]
    assert "Show more" in [button.label for button in page.button]


def test_the_page_says_why_a_grouped_search_finds_nothing(without_tower: AppTest) -> None:
    page = without_tower
    with cbir.open(str(page.session_state["url"])) as photos:
        photos.update({"tag": "x"}, ids=["c/0.png"])
        photos.update({"colour": "red"}, ids=["c/1.png", "c/2.png"])
    page.query_params["like"], page.query_params["is.colour"] = page.session_state["point_id"], "red"
    page.query_params["group_by"] = "tag"
    page.run()
    assert not page.exception
    assert [note.value for note in page.info] == ["No image that was found has the field tag. Group by another one."]


@pytest.mark.pages
def test_a_text_over_the_limit_in_a_link_is_an_error_on_the_page(desktop: Page, site: SimpleNamespace) -> None:
    desktop.goto(f"{site.address}/?text={'x' * 2001}&text=a+flag")
    expect(desktop.get_by_role("alert")).to_contain_text("The text has 2,001 characters; the limit is 2,000.")
    expect(desktop.locator(".query h2")).to_have_text("a flag")
    settled(desktop)


@pytest.mark.pages
def test_the_scores_of_a_text_are_explained_as_those_of_texts(desktop: Page, site: SimpleNamespace) -> None:
    desktop.goto(f"{site.address}/?text=a+flag")
    settled(desktop)
    best = desktop.locator(".card .score").first
    expect(best).to_have_attribute("title", re.compile("of pairs of a word and an image of this collection"))
    assert all(float(re.findall(r"[\d.]+", share)[0]) <= 10 for share in shares(desktop)[:5])
    desktop.goto(f"{site.address}/compare?text=a+flag")
    expect(desktop.locator(".card")).to_have_count(24)
    expect(desktop.locator(".card .score").first).to_have_attribute(
        "title", re.compile("of pairs of a word and an image of this collection")
    )


def test_the_page_is_empty_at_first(page: Page) -> None:
    expect(page.get_by_text("Upload images, or choose one of those below.")).to_be_visible()
    expect(page.locator(".card")).to_have_count(0)
    expect(sidebar(page)).to_contain_text("efficientnet_lite0")
    expect(page.get_by_text("10MB per file")).to_be_attached()  # so the page's config.toml is in force
    leave_sidebar(page)


def test_hits_are_cut_by_minimum_score_and_by_similarity(shop: Page, sample_images: SampleImages) -> None:
    upload(shop, ("first.png", sample_images[0][2]))
    settled(shop)
    every = scores(shop)
    assert every == sorted(every, reverse=True)
    min_score = round((every[4] + every[5]) / 2, 3) if every[4] - every[5] > 0.004 else every[5]
    sidebar(shop).get_by_label("Minimum score").fill(str(min_score))
    shop.keyboard.press("Enter")
    leave_sidebar(shop)
    expect(shop.locator(".card")).to_have_count(sum(score >= min_score for score in every))
    sidebar(shop).get_by_label("Minimum score").fill("")
    shop.keyboard.press("Enter")
    expect(shop).not_to_have_url(re.compile("min_score="))
    slider = sidebar(shop).get_by_role("slider", name="Similarity")
    for _ in range(3):
        slider.press("ArrowRight")
    expect(shop).to_have_url(re.compile(r"similarity=top\+1"))
    leave_sidebar(shop)
    until(shop, lambda: all(float(re.findall(r"[\d.]+", share)[0]) <= 1.0 for share in shares(shop)))
    assert 0 < len(shares(shop)) < K


def test_diversity_and_groups_change_the_hits(shop: Page) -> None:
    shop.locator(".tile").first.click()
    settled(shop)
    plain = headings(shop)
    slider = sidebar(shop).get_by_role("slider", name="Diversity")
    for _ in range(8):
        slider.press("ArrowRight")
    leave_sidebar(shop)
    expect(shop).to_have_url(re.compile(r"diversity=0\.8"))
    assert becomes(shop, lambda found: len(found) == K and found != plain)[0] == plain[0]
    expect(shop.get_by_text(f"{K} diverse similar images")).to_be_visible()
    choose(shop, "Group by", "colour")
    expect(shop.locator(".gallery h3")).to_have_count(3)
    assert set(shop.locator(".gallery h3").all_inner_texts()) == {"red", "green", "blue"}
    assert shop.locator(".card").count() <= 18


def test_the_page_shows_how_the_store_searched(desktop: Page, sample_images: SampleImages) -> None:
    count = len(sample_images)
    desktop.locator(".tile").nth(2).click()
    settled(desktop)
    in_edge = headings(desktop)
    expect(desktop.get_by_text(f"Exact search of all {count} images (no graph index).")).to_be_visible()
    choose(desktop, "Store", "FAISS · faiss")
    expect(
        desktop.get_by_text(f"Approximate search by the graph (ef 128); {count} of {count} images are indexed.")
    ).to_be_visible()
    becomes(desktop, lambda found: found[:5] == in_edge[:5])
    sidebar(desktop).get_by_text("Exact search", exact=True).click()
    expect(desktop.get_by_text(f"Exact search of all {count} images (as requested).")).to_be_visible()


def test_an_image_that_another_collection_lacks_is_no_failure(desktop: Page) -> None:
    desktop.locator(".tile").first.click()
    settled(desktop)
    choose(desktop, "Store", "Qdrant Edge · growing")
    expect(desktop.get_by_text("This image is not in this collection. Choose another.")).to_be_visible()
    expect(desktop.locator(".card")).to_have_count(0)
    desktop.locator(".tile").first.click()
    expect(desktop.locator(".card").first).to_be_visible()
    expect(desktop.get_by_role("alert")).to_have_count(0)


def test_the_layout_is_stable_while_results_arrive(desktop: Page) -> None:
    desktop.evaluate(
        "() => { window.shift = 0; window.add = (entries) => { for (const entry of entries)"
        " if (!entry.hadRecentInput) window.shift += entry.value; };"
        " window.observer = new PerformanceObserver((list) => window.add(list.getEntries()));"
        " window.observer.observe({ type: 'layout-shift' }); }"
    )
    desktop.locator(".tile").first.click()
    settled(desktop)
    still(desktop)
    assert desktop.evaluate("() => { window.add(window.observer.takeRecords()); return window.shift; }") < 0.1, (
        "a shift below 0.1 is good (web.dev, CLS)"
    )
