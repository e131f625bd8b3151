"""The search page as a visitor has it: a real server, a real browser, at a desk and on a phone."""

import base64
import csv
import io
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from cbir.pipeline.run import ingest
from cbir.settings import Settings
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source
from cbir.stores.registry import connect_all
from tests.support.browser import scrolls_no_way_sideways, serious, served
from tests.support.examples import SampleImages
from tests.support.web_server import answer, serve

pytestmark = pytest.mark.browser

ODD_NAME = "a_b*c $x$ :red[z] <b>bold<b>.png"
DESK, PHONE = 1280, 390
WIDTHS = [pytest.param(DESK, id="desk"), pytest.param(PHONE, id="phone", marks=pytest.mark.pages)]
K = 24
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

DROP = """([zone, name, text]) => {
    const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], name, { type: "image/png" }));
    for (const kind of ["dragenter", "dragover", "drop"]) {
        zone.dispatchEvent(new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true }));
    }
}"""


def write_shop(folder: Path, sample_images: SampleImages) -> Path:
    """A table of 80 pictures with fields of all kinds, an exact copy of the first, and one that is nearly the same."""
    folder.mkdir()
    rows = []
    for number, (key, label, data) in enumerate(sample_images[:160:2]):
        (folder / f"{key}.png").write_bytes(data)
        rows.append(
            {
                "path": f"{key}.png",
                "label": label,
                "name": f"Picture {number}",
                "year": 2000 + number % 10,
                "new": number % 4 == 0,
                "colour": ("red", "green", "blue")[number % 3],
            }
        )
    first = sample_images[0][2]
    (folder / "copy.png").write_bytes(first)
    image = Image.open(io.BytesIO(first)).convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image)
    white.save(folder / "nearly.jpg", quality=90)
    for name in ("copy.png", "nearly.jpg"):
        rows.append(rows[0] | {"path": name, "name": f"The {name.partition('.')[0]}"})
    table = folder / "shop.jsonl"
    table.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return table


@pytest.fixture(scope="module")
def site(
    index: Path, sample_images: SampleImages, model_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SimpleNamespace]:
    """One server with a good, a rich, an empty, a damaged, an unreachable and a growing store."""
    folder = tmp_path_factory.mktemp("site")
    grown = folder / "grown"
    grown.mkdir()
    for number, (_, _, data) in enumerate(sample_images[:4]):
        (grown / f"{number}.png").write_bytes(data)
    (grown / ODD_NAME).write_bytes(sample_images[4][2])
    damaged = folder / "damaged"
    shutil.copytree(index, damaged)
    log = next(damaged.glob("*/0*/log/*.log"))
    log.write_bytes(log.read_bytes()[:-1] + b"!")

    def store(source: Path, name: str) -> None:
        options = SourceOptions(label="label") if source.suffix else SourceOptions()
        stores = connect_all([f"edge:{folder / name}"], Settings())
        ingest(open_source(str(source), options), stores, model_file, Settings())

    store(grown, "growing")
    store(write_shop(folder / "shop", sample_images), "rich")
    (folder / ".env").write_text("CBIR_ALLOW_PRIVATE_ADDRESSES=1\n")
    stores = [
        f"edge:{index}",
        f"faiss:{index}/faiss",
        "edge:rich",
        "edge:empty",
        "edge:damaged",
        "http://me:secret@127.0.0.1:1",
        "edge:growing",
    ]
    with served(stores, folder) as address:
        yield SimpleNamespace(address=address, folder=folder, grown=grown, grow=partial(store, grown, "growing"))


def new_page(browser: Browser, width: int, address: str) -> Page:
    context = browser.new_context(viewport={"width": width, "height": 900}, has_touch=width == PHONE)
    page = context.new_page()
    page.set_default_timeout(20_000)
    expect.set_options(timeout=20_000)
    page.goto(address)
    return page


@pytest.fixture(params=WIDTHS)
def page(browser: Browser, site: SimpleNamespace, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page, just opened, in a window of its own."""
    opened = new_page(browser, request.param, site.address)
    expect(opened.locator(".tile")).to_have_count(10)
    yield opened
    scrolls_no_way_sideways(opened)
    opened.context.close()


@pytest.fixture(params=[pytest.param(DESK, id="desk", marks=pytest.mark.pages)])
def desk(browser: Browser, site: SimpleNamespace) -> Iterator[Page]:
    """The page at a desk, where its width means nothing."""
    opened = new_page(browser, DESK, site.address)
    expect(opened.locator(".tile")).to_have_count(10)
    yield opened
    opened.context.close()


@pytest.fixture(params=[pytest.param(*one.values, id=one.id, marks=pytest.mark.pages) for one in WIDTHS])
def shop(browser: Browser, site: SimpleNamespace, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page with the store of many fields."""
    opened = new_page(browser, request.param, f"{site.address}/?store=Qdrant+Edge+%C2%B7+rich")
    expect(opened.locator(".tile")).to_have_count(10)
    yield opened
    scrolls_no_way_sideways(opened)
    opened.context.close()


def upload(page: Page, *files: tuple[str, bytes]) -> None:
    field = page.locator("input[type=file]")
    expect(field).to_have_count(1)  # the field before it is going away
    field.set_input_files([{"name": name, "mimeType": "image/png", "buffer": data} for name, data in files])


def sidebar(page: Page) -> Locator:
    """The sidebar, opened if the window is narrow."""
    arrow = page.get_by_test_id("stExpandSidebarButton")
    if arrow.is_visible():
        arrow.click()
        page.wait_for_timeout(400)  # it slides in
    return page.get_by_test_id("stSidebar")


def leave_sidebar(page: Page) -> None:
    if (page.viewport_size or {})["width"] == PHONE:
        page.get_by_test_id("stSidebarCollapseButton").get_by_role("button").click()
        page.wait_for_timeout(400)


def choose(page: Page, box: str, option: str) -> None:
    sidebar(page).get_by_role("combobox", name=box, exact=True).click()
    page.get_by_role("option", name=option).first.click()
    page.keyboard.press("Escape")
    leave_sidebar(page)


def facet(page: Page, field: str) -> dict[str, int]:
    """The values of a field in the filter, and their counts."""
    fold = sidebar(page).locator(".facet details", has=page.locator("summary", has_text=field))
    if fold.get_attribute("open") is None:
        fold.locator("summary").click()
    rows = fold.locator("label").all_inner_texts()
    return {value: int(count) for value, count in (row.rsplit(None, 1) for row in rows)}


def tick(page: Page, field: str, value: str) -> None:
    assert value in facet(page, field)
    sidebar(page).locator(".facet label").get_by_text(value, exact=True).click()
    expect(page).to_have_url(re.compile(re.escape(f"is.{field}=")))


def headings(page: Page) -> list[str]:
    return page.locator(".card .heading").all_inner_texts()


def scores(page: Page) -> list[float]:
    return [float(text.split()[0]) for text in page.locator(".card .score").all_inner_texts()]


def shares(page: Page) -> list[str]:
    return page.locator(".card .percentile").all_inner_texts()


def heading(page: Page, rank: int) -> Locator:
    return page.locator(".card .heading").nth(rank - 1)


def name_of(picture: tuple[str, str | None, bytes]) -> str:
    return f"{picture[0]}.png"


def settled(page: Page, count: int = K) -> None:
    expect(page.locator(".card")).to_have_count(count)
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")


def until(page: Page, good: Callable[[], bool]) -> None:
    """Wait until something is so, and fail if it never is."""
    give_up = time.monotonic() + 20
    while not good() and time.monotonic() < give_up:
        page.wait_for_timeout(50)
    assert good()


def becomes(page: Page, good: Callable[[list[str]], bool]) -> list[str]:
    """The headings of the hits, once they are as they should be."""
    until(page, lambda: good(headings(page)))
    return headings(page)


# Ask


def test_nothing_is_asked_at_first(page: Page) -> None:
    expect(page.get_by_text("What are you looking for?")).to_be_visible()
    expect(page.locator(".card")).to_have_count(0)
    expect(sidebar(page).locator(".facts")).to_contain_text("efficientnet_lite0")
    expect(page.get_by_text("10MB per file")).to_be_attached()  # so the page's config.toml is in force
    leave_sidebar(page)


def test_an_uploaded_picture_finds_itself_and_more_like_it(page: Page, sample_images: SampleImages) -> None:
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
    page.locator(".card").nth(1).get_by_text("More like this").click()
    expect(page.locator(".query h2")).to_have_text(second)
    settled(page)
    assert second not in headings(page)


def test_several_pictures_are_dropped_and_asked_at_once(page: Page, sample_images: SampleImages) -> None:
    zone = page.get_by_test_id("stFileUploaderDropzone").element_handle()
    page.evaluate(DROP, [zone, "dropped.png", base64.b64encode(sample_images[9][2]).decode()])
    expect(page.locator(".query h2")).to_have_text("dropped.png")
    settled(page)
    page.get_by_text("Add to what is asked").click()
    expect(page.get_by_role("checkbox", name="Add to what is asked")).to_be_checked()
    upload(page, ("two.png", sample_images[40][2]), ("three.png", sample_images[80][2]))
    expect(page.locator(".example")).to_have_count(3)
    expect(page.locator(".query h2")).to_have_text("3 pictures")
    settled(page)
    asked = {name_of(sample_images[at]) for at in (9, 40, 80)}
    assert asked & set(headings(page)), "an average of three is near at least one of them"
    page.get_by_role("button", name="Start again").click()
    expect(page.locator(".tile")).to_have_count(10)
    expect(page.locator(".card")).to_have_count(0)


def test_a_pasted_picture_is_asked(page: Page, sample_images: SampleImages) -> None:
    expect(page.get_by_role("button", name="Paste", exact=True)).to_be_visible()
    page.evaluate(PASTE, ["image.png", "image/png", base64.b64encode(sample_images[20][2]).decode()])
    expect(page.locator(".query h2")).to_have_text("The pasted picture")
    expect(heading(page, 1)).to_have_text(name_of(sample_images[20]))


def test_the_clipboard_is_read_at_a_click(page: Page, sample_images: SampleImages) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.bring_to_front()
    page.evaluate(COPY, base64.b64encode(sample_images[30][2]).decode())
    page.get_by_role("button", name="Paste", exact=True).click()
    expect(page.locator(".query h2")).to_have_text("The pasted picture")
    expect(heading(page, 1)).to_have_text(name_of(sample_images[30]))


@pytest.mark.pages
def test_a_photo_is_taken_and_asked(page: Page) -> None:
    page.context.grant_permissions(["camera"])
    page.get_by_text("Camera", exact=True).click()
    page.wait_for_function("document.querySelector('video')?.readyState >= 3")
    shutter = page.get_by_role("button", name="Take Photo")

    def taken() -> bool:  # a camera that is not ready yet takes none
        if shutter.is_visible() and shutter.is_enabled():
            shutter.click()
        page.wait_for_timeout(1500)
        return page.locator(".query h2").inner_text() == "The photo"

    until(page, taken)
    settled(page)
    expect(shutter).to_have_count(0)


def test_the_picture_behind_an_address_is_asked_and_shared(page: Page, sample_images: SampleImages) -> None:
    with serve() as web:
        web.pages["/cats/tom.png"] = partial(answer, body=sample_images[50][2])
        box = page.get_by_role("textbox", name="Address of a picture")
        box.fill(f"{web.url}/cats/tom.png")
        box.press("Enter")
        expect(page.locator(".query h2")).to_have_text("tom.png")
        expect(heading(page, 1)).to_have_text(name_of(sample_images[50]))
        expect(page).to_have_url(re.compile("tom.png"))
        box.fill(f"{web.url}/none.png")
        box.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("The picture of that address cannot be used:")
        box.fill("/etc/passwd")
        box.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("it has to begin with http:// or https://")


def test_examples_and_other_examples_can_be_asked(page: Page) -> None:
    first = page.locator(".tile img").first.get_attribute("src")
    page.get_by_role("button", name="Shuffle").click()
    expect(page.locator(".tile img").first).not_to_have_attribute("src", first or "")
    page.locator(".tile").nth(2).click()
    settled(page)
    assert "?like=" in page.url


def test_a_part_of_a_picture_is_asked(page: Page, sample_images: SampleImages) -> None:
    upload(page, ("mine.png", sample_images[9][2]))
    settled(page)
    whole = page.locator(".example img").get_attribute("src")
    page.get_by_role("button", name="Search by a part of mine.png").click()
    window = page.get_by_role("dialog")
    frame = window.locator(".cropframe").bounding_box()
    assert frame is not None
    x, y, width, height = frame["x"], frame["y"], frame["width"], frame["height"]
    page.mouse.move(x + width * 0.1, y + height * 0.1)
    page.mouse.down()
    page.mouse.move(x + width * 0.6, y + height * 0.5, steps=4)
    page.mouse.up()
    window.get_by_role("button", name="Search by this part").click()
    expect(page.locator(".query p").first).to_have_text("A part of your picture")
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
    page.get_by_role("dialog").get_by_role("button", name="The whole picture").click()
    expect(page.locator(".query p").first).to_have_text("Your picture")
    expect(heading(page, 1)).to_have_text(name_of(sample_images[9]))


def test_hits_become_good_and_bad_examples(page: Page) -> None:
    page.locator(".tile").first.click()
    settled(page)
    plain = headings(page)
    page.locator(".card").nth(1).get_by_role("button", name=re.compile("^Not like")).click()
    expect(page.locator(".example.unlike")).to_have_count(1)
    expect(page.locator(".query")).to_contain_text("Like 1 of them, not like 1")
    assert plain[1] not in becomes(page, lambda found: len(found) == K and found != plain)
    page.locator(".card").nth(2).get_by_role("button", name=re.compile("^Also like")).click()
    expect(page.locator(".example.like")).to_have_count(2)
    settled(page)
    page.locator(".example.unlike").get_by_role("button", name=re.compile("^Like ")).click()
    expect(page.locator(".example.like")).to_have_count(3)
    for left in (2, 1):
        page.locator(".example").last.get_by_role("button", name=re.compile("out of the search$")).click()
        expect(page.locator(".example")).to_have_count(left)
    becomes(page, plain.__eq__)


def test_what_cannot_be_asked_is_told_in_a_sentence(page: Page, sample_images: SampleImages) -> None:
    upload(page, ("a_b*c.jpg", b"this is no picture"))
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("a_b*c.jpg cannot be used: not an image of a known format.")
    page.evaluate(PASTE, ["big.png", "image/png", base64.b64encode(bytes(10 * 2**20 + 1)).decode()])
    expect(alert).to_contain_text("The pasted picture cannot be used: larger than 10 MB.")
    bomb = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(bomb, "PNG")
    upload(page, ("bomb.png", bomb.getvalue()))
    expect(alert).to_contain_text("bomb.png cannot be used: too large: 10000 x 10000 is 100 megapixels")
    upload(page, ("mine.png", sample_images[3][2]))
    settled(page)
    expect(alert).to_have_count(0)


# Answer


def test_a_large_view_shows_all_there_is_and_turns_pages(shop: Page) -> None:
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


def test_filters_say_how_many_there_are_and_leave_only_those(shop: Page) -> None:
    shop.locator(".tile").first.click()
    settled(shop)
    assert facet(shop, "colour") == {"red": 29, "green": 27, "blue": 26}
    tick(shop, "colour", "green")
    sidebar(shop).get_by_label("year from").fill("2005")
    shop.keyboard.press("Enter")
    expect(shop).to_have_url(re.compile(r"from\.year=2005"))
    narrowed = facet(shop, "new")
    assert 0 < sum(narrowed.values()) < 27, "counted among what the other filters leave"
    tick(shop, "new", "false")
    leave_sidebar(shop)
    expect(shop).to_have_url(re.compile(r"is\.colour=green.*from\.year=2005|from\.year=2005.*is\.colour=green"))
    expect(shop.get_by_text("applied the filter. Only colour green, new false, year from 2005.")).to_be_visible()
    expect(shop.locator(".card")).to_have_count(narrowed["false"])
    with shop.expect_download() as download:
        shop.get_by_role("button", name="JSON").click()
    found = json.loads(download.value.path().read_text())["hits"]
    assert len(found) == narrowed["false"]
    for hit in found:
        payload = hit["payload"]
        assert (payload["colour"], payload["new"], payload["year"] >= 2005) == ("green", False, True)
    sidebar(shop).get_by_role("button", name="No filter").click()
    leave_sidebar(shop)
    settled(shop)


def test_a_threshold_cuts_by_score_and_by_share(shop: Page, sample_images: SampleImages) -> None:
    upload(shop, ("first.png", sample_images[0][2]))
    settled(shop)
    every = scores(shop)
    assert every == sorted(every, reverse=True)
    least = round((every[4] + every[5]) / 2, 3) if every[4] - every[5] > 0.004 else every[5]
    sidebar(shop).get_by_label("Lowest score").fill(str(least))
    shop.keyboard.press("Enter")
    leave_sidebar(shop)
    expect(shop.locator(".card")).to_have_count(sum(one >= least for one in every))
    sidebar(shop).get_by_label("Lowest score").fill("")
    shop.keyboard.press("Enter")
    expect(shop).not_to_have_url(re.compile("least="))
    slider = sidebar(shop).get_by_role("slider", name="Similarity")
    for _ in range(3):
        slider.press("ArrowRight")
    expect(shop).to_have_url(re.compile(r"similarity=top\+1"))
    leave_sidebar(shop)
    until(shop, lambda: all(float(re.findall(r"[\d.]+", one)[0]) <= 1.0 for one in shares(shop)))
    assert 0 < len(shares(shop)) < K


def test_variety_and_groups_change_what_is_shown(shop: Page) -> None:
    shop.locator(".tile").first.click()
    settled(shop)
    plain = headings(shop)
    slider = sidebar(shop).get_by_role("slider", name="Variety")
    for _ in range(8):
        slider.press("ArrowRight")
    leave_sidebar(shop)
    expect(shop).to_have_url(re.compile(r"diversity=0\.8"))
    assert becomes(shop, lambda found: len(found) == K and found != plain)[0] == plain[0]
    expect(shop.get_by_text(f"{K} similar and unlike each other")).to_be_visible()
    choose(shop, "Group by", "colour")
    expect(shop.locator(".gallery h3")).to_have_count(3)
    assert set(shop.locator(".gallery h3").all_inner_texts()) == {"red", "green", "blue"}
    assert shop.locator(".card").count() <= 18


def test_near_duplicates_are_folded_on_demand(shop: Page, sample_images: SampleImages) -> None:
    upload(shop, ("first.png", sample_images[0][2]))
    settled(shop)
    assert set(headings(shop)[:3]) == {"Picture 0", "The copy", "The nearly"}
    expect(shop.locator(".card .badge")).to_have_count(2)
    sidebar(shop).get_by_text("Fold near-duplicates").click()
    leave_sidebar(shop)
    expect(shop.locator(".folded").first).to_contain_text("nearly the same")
    settled(shop)
    assert len({"Picture 0", "The copy", "The nearly"} & set(headings(shop))) == 1
    shop.locator(".folded").first.click()
    expect(shop.get_by_role("dialog").locator(".strip .tile")).to_have_count(2)
    shop.keyboard.press("Escape")


def test_hits_are_taken_along_as_a_table(desk: Page, sample_images: SampleImages) -> None:
    upload(desk, ("mine.png", sample_images[9][2]))
    settled(desk)
    with desk.expect_download() as download:
        desk.get_by_role("button", name="CSV").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
    assert [row["key"].rpartition("/")[2] for row in rows] == headings(desk)
    with desk.expect_download() as download:
        desk.get_by_role("button", name="JSON").click()
    found = json.loads(download.value.path().read_text())
    assert [hit["key"] for hit in found["hits"]] == [row["key"] for row in rows]
    assert set(found["milliseconds"]) == {"decode", "preprocess", "model", "store"}


@pytest.mark.pages
def test_a_search_is_shared_by_its_address_and_gone_back_to(
    page: Page, browser: Browser, site: SimpleNamespace, sample_images: SampleImages
) -> None:
    upload(page, ("mine.png", sample_images[9][2]))
    settled(page)
    page.locator(".card").nth(1).get_by_role("button", name=re.compile("^Not like")).click()
    expect(page.locator(".example.unlike")).to_have_count(1)
    tick(page, "label", "Objects")
    leave_sidebar(page)
    expect(page.locator(".card")).not_to_have_count(0)
    expect(page.locator(".gallery")).to_contain_text("Objects")
    found, address = headings(page), page.url
    for width in (DESK, PHONE):
        other = new_page(browser, width, address)
        expect(other.locator(".card")).to_have_count(len(found))
        assert headings(other) == found
        expect(other.locator(".example")).to_have_count(2)
        other.context.close()
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
    gone = new_page(browser, DESK, f"{site.address}/?like=a-picture-that-had-to-make-room")
    expect(gone.get_by_role("alert")).to_contain_text("kept for a while only and is gone")
    expect(gone.locator(".tile")).to_have_count(10)
    gone.context.close()


# Trust


def test_it_is_said_how_the_store_searched(desk: Page, sample_images: SampleImages) -> None:
    count = len(sample_images)
    desk.locator(".tile").nth(2).click()
    settled(desk)
    in_edge = headings(desk)
    expect(
        desk.get_by_text(f"Exact search: all {count} pictures were compared (so few need no graph).")
    ).to_be_visible()
    choose(desk, "Store", "FAISS · faiss")
    expect(
        desk.get_by_text(f"Approximate search by the graph (ef 128); {count} of {count} pictures are indexed.")
    ).to_be_visible()
    becomes(desk, lambda found: found[:5] == in_edge[:5])
    sidebar(desk).get_by_text("Scan everything").click()
    expect(desk.get_by_text(f"Exact search: all {count} pictures were compared (as asked).")).to_be_visible()


def test_a_picture_that_another_collection_lacks_is_no_error(desk: Page) -> None:
    desk.locator(".tile").first.click()
    settled(desk)
    choose(desk, "Store", "Qdrant Edge · growing")
    expect(desk.get_by_text("That picture is not in this collection; choose another.")).to_be_visible()
    expect(desk.locator(".card")).to_have_count(0)
    desk.locator(".tile").first.click()
    expect(desk.locator(".card").first).to_be_visible()
    expect(desk.get_by_role("alert")).to_have_count(0)


def test_a_store_without_pictures_tells_how_to_fill_it(page: Page) -> None:
    choose(page, "Store", "Qdrant Edge · empty")
    expect(page.get_by_text("cbir-ingest sample://openmoji --store edge:empty")).to_be_visible()


@pytest.mark.parametrize(
    ("store", "sentence"),
    [
        ("Qdrant Edge · damaged", "The index of this collection is damaged and is not served"),
        ("http://127.0.0.1:1", "127.0.0.1:1"),
    ],
)
def test_a_store_that_fails_does_not_break_the_page(
    desk: Page, site: SimpleNamespace, store: str, sentence: str
) -> None:
    choose(desk, "Store", store)
    alert = desk.get_by_role("alert")
    expect(alert).to_contain_text(sentence)
    for secret in (str(site.folder), "secret", "Traceback"):
        assert secret not in desk.content()
    choose(desk, "Store", "Qdrant Edge · index")
    expect(desk.locator(".tile")).to_have_count(10)
    expect(alert).to_have_count(0)


def test_a_new_generation_is_served_without_a_restart_and_odd_names_literally(
    desk: Page, site: SimpleNamespace, sample_images: SampleImages
) -> None:
    choose(desk, "Store", "Qdrant Edge · growing")
    expect(desk.locator(".tile")).to_have_count(5)
    upload(desk, ("odd.png", sample_images[4][2]))
    expect(desk.locator(".card")).to_have_count(5)
    expect(heading(desk, 1)).to_have_text(ODD_NAME)
    desk.locator(".card").first.get_by_text("More like this").click()
    expect(desk.locator(".query h2")).to_have_text(ODD_NAME)

    (site.grown / "new.png").write_bytes(sample_images[50][2])
    site.grow()
    desk.locator(".card").first.get_by_text("More like this").click()
    expect(desk.locator(".facts")).to_contain_text("000002")
    upload(desk, ("new.png", sample_images[50][2]))
    expect(desk.locator(".card .heading").first).to_have_text("new.png")
    (views,) = site.folder.glob("growing/*/views")
    assert len(list(views.glob("*.lock"))) == 1, "the old generation is still open"


# Compare


def test_two_stores_are_compared(page: Page, site: SimpleNamespace) -> None:
    page.locator(".tile").first.click()
    settled(page)
    like = re.findall("like=([0-9a-f-]{36})", page.url)[0]
    page.goto(f"{site.address}/compare?like={like}&store2=FAISS+%C2%B7+faiss")
    expect(page.locator(".note")).to_have_text("12 of 12 are in both, 12 of them at the same rank")
    expect(page.locator(".card.both")).to_have_count(24)
    expect(page.get_by_text(re.compile(r"store [\d.]+ ms"))).to_have_count(2)
    page.locator(".card").nth(1).get_by_text("More like this").click()
    expect(page.locator(".query h2")).not_to_have_text("")
    expect(page.locator(".card")).to_have_count(24)
    page.goto(f"{site.address}/compare?like={like}&store2=Qdrant+Edge+%C2%B7+rich")
    expect(page.get_by_role("alert").first).to_contain_text("That picture is not in this collection")


# Looks


@pytest.mark.pages
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_in_the_way_of_anybody(browser: Browser, site: SimpleNamespace, scheme: str) -> None:
    for width in (DESK, PHONE):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(f"{site.address}/?store=Qdrant+Edge+%C2%B7+rich")
        expect(page.locator(".tile")).to_have_count(10)
        dark = page.get_by_test_id("stApp").evaluate("node => getComputedStyle(node).backgroundColor")
        assert (dark == "rgb(255, 255, 255)") is (scheme == "light")
        assert serious(page) == []
        page.locator(".tile").first.click()
        settled(page)
        page.locator(".card").nth(1).get_by_role("button", name=re.compile("^Not like")).click()
        expect(page.locator(".example.unlike")).to_have_count(1)
        settled(page)
        assert serious(page) == []
        page.locator(".card .frame").first.click()
        assert serious(page) == []
        page.keyboard.press("Escape")
        page.goto(page.url.replace("/?", "/compare?") + "&store2=Qdrant+Edge+%C2%B7+rich")
        expect(page.locator(".card.both").first).to_be_visible()
        assert serious(page) == []
        context.close()


def test_a_search_is_made_with_the_keyboard_alone(desk: Page) -> None:
    desk.locator(".tile").first.focus()
    desk.keyboard.press("Enter")
    settled(desk)
    desk.locator(".card .frame").first.focus()
    desk.keyboard.press("Enter")
    expect(desk.get_by_role("dialog")).to_be_visible()
    desk.keyboard.press("Escape")
    expect(desk.get_by_role("dialog")).to_have_count(0)
    assert desk.evaluate("() => document.activeElement.shadowRoot.activeElement.className") == "frame", (
        "the focus comes back"
    )


def test_nothing_jumps_while_results_come(desk: Page) -> None:
    desk.evaluate(
        "() => { window.shift = 0; new PerformanceObserver((list) => { for (const one of list.getEntries())"
        " if (!one.hadRecentInput) window.shift += one.value; }).observe({ type: 'layout-shift' }); }"
    )
    desk.locator(".tile").first.click()
    settled(desk)
    desk.wait_for_timeout(300)
    assert desk.evaluate("window.shift") < 0.1, "a shift below 0.1 is good (web.dev, CLS)"


def test_a_phone_has_a_solid_header_and_no_keys_to_press(browser: Browser, site: SimpleNamespace) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(site.address)
    expect(page.locator(".tile")).to_have_count(10)
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
