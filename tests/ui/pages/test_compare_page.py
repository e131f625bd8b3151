"""The page that compares two stores."""

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from cbir.ui.pages import compare_page
from playwright.sync_api import Page, expect

from cbir.stores.base import StoreInfo
from tests.support.building import MODEL
from tests.support.visitor import settled


@pytest.mark.parametrize(
    ("rank", "other", "marked"),
    [
        (1, 1, ("both", "same rank")),
        (2, 5, ("moved", "3 up")),
        (5, 2, ("moved", "3 down")),
        (1, None, ("alone", "only here")),
    ],
)
def test_a_hit_says_where_it_is_on_the_other_side(rank: int, other: int | None, marked: tuple[str, str]) -> None:
    assert compare_page._mark(rank, other) == marked


def test_two_collections_that_need_not_agree_are_told_apart() -> None:
    info = StoreInfo("edge:a", "photos-model", "000001", MODEL, 10, 0, "scan", dataset="photos")
    assert compare_page._difference(info, replace(info, url="edge:b", collection="other")) == ""
    assert compare_page._difference(info, replace(info, dataset="shop")).startswith("These are different data sets")
    assert compare_page._difference(info, replace(info, count=9)).startswith("One has 10 images, the other 9.")


def test_two_stores_are_compared(page: Page, site: SimpleNamespace) -> None:
    page.locator(".tile").first.click()
    settled(page)
    like = re.findall("like=([0-9a-f-]{36})", page.url)[0]
    page.goto(f"{site.address}/compare?like={like}&store2=FAISS+%C2%B7+faiss")
    expect(page.locator(".note")).to_have_text("12 of 12 hits are in both, 12 of them at the same rank")
    expect(page.locator(".card.both")).to_have_count(24)
    expect(page.get_by_text(re.compile(r"store [\d.]+ ms"))).to_have_count(2)
    page.locator(".card").nth(1).get_by_text("Similar images").click()
    expect(page.locator(".query h2")).not_to_have_text("")
    expect(page.locator(".card")).to_have_count(24)
    page.goto(f"{site.address}/compare?like={like}&store2=Qdrant+Edge+%C2%B7+rich")
    expect(page.get_by_role("alert").first).to_contain_text("This image is not in this collection")
