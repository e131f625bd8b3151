"""The pages that look at a whole collection, classes and map, as a visitor has them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from cbir.pipeline.run import ingest
from cbir.settings import Settings
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source
from cbir.stores.registry import connect_all
from tests.support.browser import scrolls_no_way_sideways, serious, served, window
from tests.support.examples import SampleImages

pytestmark = [pytest.mark.browser, pytest.mark.pages]

DESKTOP, PHONE = (1280, 900), (390, 844)
ID = re.compile(r"[?&]like=[0-9a-f-]{36}(&|$)")
IN_SIGHT = """nodes => nodes.findIndex(node => {
    const box = node.getBoundingClientRect();
    return document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2) === node;
})"""


@pytest.fixture(scope="module")
def address(
    index: Path,
    sample_images: SampleImages,
    model_file: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """A server with labelled pictures, a few without labels, and an empty store."""
    folder = tmp_path_factory.mktemp("explore")
    plain = folder / "plain"
    plain.mkdir()
    for number, (_, _, data) in enumerate(sample_images[:17]):
        (plain / f"{number}.png").write_bytes(data)
    stores = connect_all([f"edge:{folder / 'unlabelled'}"], Settings())
    ingest(open_source(str(plain), SourceOptions()), stores, model_file, Settings())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setenv("NUMBA_DISABLE_JIT", "1")  # a real UMAP of few points, without the 20 seconds of compiling it
        with served([f"edge:{index}", f"faiss:{index}/faiss", "edge:unlabelled", "edge:empty"], folder) as running:
            yield running


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    with window(browser, *request.param, seconds=30) as opened:
        yield opened


def points(page: Page) -> Locator:
    return page.get_by_test_id("stVegaLiteChart").locator(".mark-symbol.role-mark path")


def assert_hits_are_shown(page: Page, picture: str | None) -> None:
    """The search page shows hits of the very picture that was clicked, and says so in its address."""
    expect(page.locator(".card")).to_have_count(24)
    assert picture
    assert page.locator(".query img").first.get_attribute("src") == picture
    expect(page).to_have_url(ID)


def test_a_failing_query_of_a_class_is_one_click_from_its_search(page: Page, address: str) -> None:
    page.goto(f"{address}/classes")
    expect(page.get_by_role("heading", name="Failing queries")).to_be_visible()
    for metric in ("Precision@5", "Hit rate@5", "MRR@5"):
        value = page.get_by_test_id("stMetric").filter(has_text=metric).get_by_test_id("stMetricValue")
        assert 0 < float(value.inner_text()) <= 1
    expect(page.get_by_test_id("stDataFrame")).to_be_visible()
    expect(page.get_by_test_id("stVegaLiteChart")).to_be_visible()
    expect(page.locator(".caption").first).to_have_text(re.compile(r"^.+ · 0 of 5$"))
    scrolls_no_way_sideways(page)
    tile = page.locator(".tile").first
    picture = tile.locator("img").get_attribute("src")
    tile.click()
    assert_hits_are_shown(page, picture)


def test_a_class_is_chosen_in_the_table_and_stands_in_the_address(page: Page, address: str) -> None:
    page.goto(f"{address}/classes?class=Flags&store=FAISS+%C2%B7+faiss")
    chosen = page.get_by_test_id("stMain").get_by_role("combobox", name="Class")
    expect(chosen).to_have_value("Flags")
    table = page.get_by_test_id("stDataFrame")
    table.scroll_into_view_if_needed()
    cells = table.locator("canvas").first.bounding_box()
    assert cells
    page.mouse.click(cells["x"] + 15, cells["y"] + 1.5 * cells["height"] / 10)  # the first of nine classes
    expect(page).to_have_url(re.compile("class=People-Body"))
    expect(chosen).to_have_value("People-Body")
    tile = page.locator(".tile").first
    expect(tile).to_be_visible()
    tile.click()
    expect(page.locator(".card")).to_have_count(24)
    expect(page).to_have_url(re.compile("store=FAISS"))  # the search is in the store that was judged


def test_pictures_without_labels_have_no_classes_but_a_map(page: Page, address: str) -> None:
    page.goto(f"{address}/classes?store=Qdrant+Edge+%C2%B7+unlabelled")
    expect(page.get_by_text("The pictures of this collection have no labels")).to_be_visible()
    expect(page.get_by_text("cbir-ingest data.parquet --label COLUMN")).to_be_visible()
    page.goto(f"{address}/map?store=Qdrant+Edge+%C2%B7+unlabelled")
    expect(points(page)).to_have_count(17)


def test_an_empty_store_says_how_to_fill_it(page: Page, address: str) -> None:
    for path in ("classes", "map"):
        page.goto(f"{address}/{path}?store=Qdrant+Edge+%C2%B7+empty")
        expect(page.get_by_text("cbir-ingest sample://openmoji --store edge:empty")).to_be_visible()


def test_a_point_of_the_map_shows_its_neighbours_and_leads_to_the_search(page: Page, address: str) -> None:
    page.goto(f"{address}/map")
    expect(page.get_by_text(re.compile(r"All 3\d\d pictures, in their first two principal components"))).to_be_visible()
    expect(page.get_by_text("Click on a point to see its picture")).to_be_visible()
    shown = points(page)
    everywhere = shown.nth(0).get_attribute("transform")
    box = page.get_by_test_id("stVegaLiteChart").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 200)
    page.mouse.wheel(0, -300)
    expect(shown.nth(0)).not_to_have_attribute("transform", everywhere or "")
    page.wait_for_timeout(500)
    zoomed = shown.evaluate_all("nodes => nodes.map(node => node.getAttribute('transform'))")
    at = shown.evaluate_all(IN_SIGHT)
    shown.nth(at).click()
    expect(page.locator(".tile")).to_have_count(13)
    label = shown.nth(at).get_attribute("aria-label") or ""
    name = re.findall("name: (.+?);", label)[0]
    expect(page.get_by_test_id("stMain").get_by_text(name, exact=True)).to_be_visible()
    assert shown.evaluate_all("nodes => nodes.map(node => node.getAttribute('transform'))") == zoomed
    scores = [float(text) for text in page.locator(".caption").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    scrolls_no_way_sideways(page)
    picture = page.locator(".tile img").first.get_attribute("src")
    page.get_by_role("button", name="Search for this picture").click()
    assert_hits_are_shown(page, picture)


def test_the_map_is_coloured_by_a_field_that_stands_in_the_address(page: Page, address: str) -> None:
    page.goto(f"{address}/map?colour=label")
    expect(page.get_by_test_id("stMain").get_by_role("combobox", name="Colour by")).to_have_value("label")
    expect(points(page).nth(299)).to_be_attached()
    looks = points(page).evaluate_all("nodes => nodes.map(node => [node.getAttribute('fill'), node.getAttribute('d')])")
    assert len({tuple(one) for one in looks}) == 9, "each class has a look of its own: a colour, or another shape"


def test_umap_is_made_while_the_map_stays_usable(browser: Browser, address: str) -> None:
    with window(browser, *DESKTOP, seconds=30) as page:
        page.goto(f"{address}/map?store=Qdrant+Edge+%C2%B7+unlabelled")
        expect(points(page).first).to_be_visible()
        before = points(page).nth(0).get_attribute("transform")
        page.get_by_role("radio", name="UMAP").click()
        expect(page.get_by_text("UMAP takes a minute or two")).to_be_visible()
        points(page).nth(points(page).evaluate_all(IN_SIGHT)).click()
        expect(page.locator(".tile")).to_have_count(13)
        expect(page.get_by_text("by UMAP, which keeps neighbours together")).to_be_visible(timeout=90_000)
        expect(page).to_have_url(re.compile("projection=UMAP"))
        assert points(page).nth(0).get_attribute("transform") != before
        page.reload()  # it is kept
        expect(page.get_by_text("by UMAP, which keeps neighbours together")).to_be_visible()
        expect(page.get_by_text("UMAP takes a minute or two")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_in_the_way_of_anybody(page: Page, address: str, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    for path in ("classes", "map", "bench", "collections"):
        page.goto(f"{address}/{path}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
        assert serious(page) == []
