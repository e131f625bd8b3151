"""The page as a visitor has it: a real server, a real browser."""

import base64
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from cbir.ingest.run import ingest
from playwright.sync_api import Browser, Locator, Page, expect

from cbir.settings import Settings
from cbir.sources import SourceOptions, open_source

from .browser import chromium, find_chromium, served

pytestmark = pytest.mark.browser

Pictures = list[tuple[str, str | None, bytes]]
ODD_NAME = "a_b*c $x$ :red[z] <b>bold<b>.png"
PASTE = """([name, type, text]) => {
    const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
    const clipboardData = new DataTransfer();
    clipboardData.items.add(new File([bytes], name, { type }));
    document.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
}"""

COPY = """async (text) => {
    const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
    await navigator.clipboard.write([new ClipboardItem({ "image/png": new Blob([bytes], { type: "image/png" }) })]);
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium: none in the path, none of playwright's own, and CBIR_CHROMIUM is not set")
    with chromium(path) as running:
        yield running


@pytest.fixture(scope="module")
def site(
    index: Path, pictures: Pictures, model_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SimpleNamespace]:
    """One server with a good, an empty, a damaged, an unreachable and a growing store."""
    folder = tmp_path_factory.mktemp("site")
    grown = folder / "grown"
    grown.mkdir()
    for number, (_, _, data) in enumerate(pictures[:4]):
        (grown / f"{number}.png").write_bytes(data)
    (grown / ODD_NAME).write_bytes(pictures[4][2])
    damaged = folder / "damaged"
    shutil.copytree(index, damaged)
    log = next(damaged.glob("*/0*/log/*.log"))
    log.write_bytes(log.read_bytes()[:-1] + b"!")

    def grow() -> None:
        source = open_source(str(grown), SourceOptions())
        ingest(source, [f"edge:{folder / 'growing'}"], model_file, Settings())

    grow()
    stores = [
        f"edge:{index}",
        f"faiss:{index}/faiss",
        "edge:empty",
        "edge:damaged",
        "http://me:secret@127.0.0.1:1",
        "edge:growing",
    ]
    with served(stores, folder) as address:
        yield SimpleNamespace(address=address, folder=folder, grown=grown, grow=grow)


@pytest.fixture
def page(browser: Browser, site: SimpleNamespace) -> Iterator[Page]:
    """The page, just opened, in a window of its own."""
    opened = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    opened.set_default_timeout(20_000)
    expect.set_options(timeout=20_000)
    opened.goto(site.address)
    expect(opened.locator(".tile")).to_have_count(8)
    expect(opened.get_by_role("button", name="Paste", exact=True)).to_be_visible()
    yield opened
    opened.context.close()


def upload(page: Page, name: str, data: bytes) -> None:
    field = page.locator("input[type=file]")
    expect(field).to_have_count(1)  # the field before it is going away
    field.set_input_files({"name": name, "mimeType": "image/png", "buffer": data})


def choose_store(page: Page, name: str) -> None:
    page.get_by_role("combobox", name="Store").click()
    page.get_by_role("option", name=name, exact=True).click()


def heading(page: Page, rank: int) -> Locator:
    return page.locator(".card .heading").nth(rank - 1)


def name_of(picture: tuple[str, str | None, bytes]) -> str:
    return f"{picture[0]}.png"


def test_nothing_is_asked_at_first(page: Page) -> None:
    expect(page.get_by_text("What are you looking for?")).to_be_visible()
    expect(page.locator(".card")).to_have_count(0)
    expect(page.locator(".facts")).to_contain_text("efficientnet_lite0")
    expect(page.get_by_text("10MB per file")).to_be_visible()  # so the page's config.toml is in force


def test_an_uploaded_picture_finds_itself_and_more_like_it(page: Page, pictures: Pictures) -> None:
    upload(page, "mine.png", pictures[9][2])
    expect(page.locator(".card")).to_have_count(12)
    expect(page.locator(".query h2")).to_have_text("mine.png")
    expect(heading(page, 1)).to_have_text(name_of(pictures[9]))
    expect(page.locator(".card .score").first).to_have_text("1.000")
    for stage in ("decode", "preprocess", "model", "store"):
        expect(page.locator(".times")).to_contain_text(re.compile(rf"{stage} [\d.]+ ms"))
    spent = page.locator(".times span").all_inner_texts()
    page.get_by_role("slider").press("ArrowLeft")
    expect(page.locator(".card")).to_have_count(11)
    assert page.locator(".times span").all_inner_texts()[:3] == spent[:3], "embedded again"
    page.get_by_role("slider").press("ArrowRight")
    expect(page.locator(".card")).to_have_count(12)

    second = heading(page, 2).inner_text()
    page.locator(".card").nth(1).get_by_text("More like this").click()
    expect(page.locator(".query h2")).to_have_text(second)
    expect(page.locator(".card")).to_have_count(12)
    expect(page.locator(".card .heading").get_by_text(second, exact=True)).to_have_count(0)


def test_a_pasted_picture_is_asked(page: Page, pictures: Pictures) -> None:
    page.evaluate(PASTE, ["image.png", "image/png", base64.b64encode(pictures[20][2]).decode()])
    expect(page.locator(".query h2")).to_have_text("The pasted picture")
    expect(heading(page, 1)).to_have_text(name_of(pictures[20]))


def test_the_clipboard_is_read_at_a_click(page: Page, pictures: Pictures) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate(COPY, base64.b64encode(pictures[30][2]).decode())
    page.get_by_role("button", name="Paste", exact=True).click()
    expect(page.locator(".query h2")).to_have_text("The pasted picture")
    expect(heading(page, 1)).to_have_text(name_of(pictures[30]))


def test_what_cannot_be_asked_is_told_in_a_sentence(page: Page, pictures: Pictures) -> None:
    upload(page, "a_b*c.jpg", b"this is no picture")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("a_b*c.jpg cannot be used: not an image of a known format.")
    page.evaluate(PASTE, ["big.png", "image/png", base64.b64encode(bytes(10 * 2**20 + 1)).decode()])
    expect(alert).to_contain_text("The pasted picture cannot be used: larger than 10 MB.")
    upload(page, "mine.png", pictures[3][2])
    expect(page.locator(".card")).to_have_count(12)
    expect(alert).to_have_count(0)


def test_an_example_is_asked_in_another_store_with_another_k(page: Page) -> None:
    page.locator(".tile").nth(2).click()
    expect(page.locator(".card")).to_have_count(12)
    in_edge = page.locator(".card .heading").all_inner_texts()
    choose_store(page, "FAISS · faiss")
    expect(page.locator(".facts")).to_contain_text("graph, 3")
    expect(page.locator(".card")).to_have_count(12)
    for rank, text in enumerate(in_edge[:5], 1):
        expect(heading(page, rank)).to_have_text(text)
    slider = page.get_by_role("slider")
    slider.press("ArrowRight")
    expect(page.locator(".card")).to_have_count(13)


def test_a_picture_that_another_collection_lacks_is_no_error(page: Page) -> None:
    page.locator(".tile").first.click()
    expect(page.locator(".card")).to_have_count(12)
    page.locator(".card").first.get_by_text("More like this").click()
    choose_store(page, "Qdrant Edge · growing")
    expect(page.get_by_text("That picture is not in this collection; choose another.")).to_be_visible()
    expect(page.locator(".card")).to_have_count(0)
    expect(page.get_by_role("alert")).to_have_count(0)
    page.locator(".tile").first.click()
    expect(page.locator(".card").first).to_be_visible()


def test_other_examples_can_be_had(page: Page) -> None:
    first = page.locator(".tile img").first.get_attribute("src")
    page.get_by_role("button", name="Shuffle").click()
    expect(page.locator(".tile img").first).not_to_have_attribute("src", first or "")


def test_a_store_without_pictures_tells_how_to_fill_it(page: Page) -> None:
    choose_store(page, "Qdrant Edge · empty")
    expect(page.get_by_text("cbir-ingest sample://openmoji --store edge:empty")).to_be_visible()


@pytest.mark.parametrize(
    ("store", "sentence"),
    [
        ("Qdrant Edge · damaged", "The index of this collection is damaged and is not served"),
        ("http://127.0.0.1:1", "127.0.0.1:1"),
    ],
)
def test_a_store_that_fails_does_not_break_the_page(
    page: Page, site: SimpleNamespace, store: str, sentence: str
) -> None:
    choose_store(page, store)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text(sentence)
    for secret in (str(site.folder), "secret", "Traceback"):
        assert secret not in page.content()
    choose_store(page, "Qdrant Edge · index")
    expect(page.locator(".tile")).to_have_count(8)
    expect(alert).to_have_count(0)


def test_a_new_generation_is_served_without_a_restart_and_odd_names_literally(
    page: Page, site: SimpleNamespace, pictures: Pictures
) -> None:
    choose_store(page, "Qdrant Edge · growing")
    expect(page.locator(".tile")).to_have_count(5)
    upload(page, "odd.png", pictures[4][2])
    expect(page.locator(".card")).to_have_count(5)
    expect(heading(page, 1)).to_have_text(ODD_NAME)
    page.locator(".card").first.get_by_text("More like this").click()
    expect(page.locator(".query h2")).to_have_text(ODD_NAME)

    (site.grown / "new.png").write_bytes(pictures[50][2])
    site.grow()
    page.locator(".card").first.get_by_text("More like this").click()
    expect(page.locator(".facts")).to_contain_text("000002")
    expect(page.locator(".tile")).to_have_count(6)
    upload(page, "new.png", pictures[50][2])
    expect(page.locator(".card .heading").first).to_have_text("new.png")
    (views,) = site.folder.glob("growing/*/views")
    assert len(list(views.glob("*.lock"))) == 1, "the old generation is still open"


def test_details_show_the_payload(page: Page) -> None:
    page.locator(".tile").first.click()
    page.locator(".card").first.get_by_text("Details").click()
    expect(page.locator(".panel").first).to_be_visible()
    expect(page.locator(".panel").first).to_contain_text("sha256")


@pytest.mark.parametrize("width", [390, 820])
def test_a_narrow_window_does_not_scroll_sideways(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.locator(".tile").first.click()
    expect(page.locator(".card")).to_have_count(12)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    main = page.get_by_test_id("stMain")
    assert main.evaluate("node => node.scrollWidth <= node.clientWidth")


def test_a_phone_has_a_solid_header_and_no_keys_to_press(browser: Browser, site: SimpleNamespace) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(site.address)
    expect(page.locator(".tile")).to_have_count(8)
    header = page.get_by_test_id("stHeader")
    colour = header.evaluate("node => getComputedStyle(node).backgroundColor")
    assert colour == page.get_by_test_id("stApp").evaluate("node => getComputedStyle(node).backgroundColor")
    assert colour != "rgba(0, 0, 0, 0)"
    expect(page.locator(".paste")).to_contain_text("or paste one")
    expect(page.locator(".paste")).not_to_contain_text("V")
    context.close()


def test_nothing_is_fetched_from_elsewhere(browser: Browser, site: SimpleNamespace) -> None:
    context = browser.new_context()
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page = context.new_page()
    page.goto(site.address)
    page.locator(".tile").first.click()
    expect(page.locator(".card").first).to_be_visible()
    context.close()
    assert [url for url in asked if not url.startswith((site.address, "data:", "blob:"))] == []
