"""What a visitor does and sees on the site, for tests in a real browser."""

import re
import time
from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

from tests.support.browser import WAIT_SECONDS, idle, still

ODD_NAME = "a_b*c $x$ :red[z] <b>bold<b>.png"
DESKTOP, PHONE = 1280, 390
K = 24
HIT_ID = re.compile(r"[?&]like=[0-9a-f-]{36}(&|$)")
PASTE = """([name, type, text]) => {
    const bytes = Uint8Array.from(atob(text), (code) => code.charCodeAt(0));
    const clipboardData = new DataTransfer();
    clipboardData.items.add(new File([bytes], name, { type }));
    document.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
}"""
COPY = """async (text) => {
    const bytes = Uint8Array.from(atob(text), (code) => code.charCodeAt(0));
    await navigator.clipboard.write([new ClipboardItem({ "image/png": new Blob([bytes], { type: "image/png" }) })]);
}"""
DROP = """([zone, name, text]) => {
    const bytes = Uint8Array.from(atob(text), (code) => code.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], name, { type: "image/png" }));
    for (const kind of ["dragenter", "dragover", "drop"]) {
        zone.dispatchEvent(new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true }));
    }
}"""


def upload(page: Page, *files: tuple[str, bytes]) -> None:
    field = page.locator("input[type=file]")
    expect(field).to_have_count(1)  # the field before it is going away
    field.set_input_files([{"name": name, "mimeType": "image/png", "buffer": data} for name, data in files])


def sidebar(page: Page) -> Locator:
    """The sidebar, opened if the window is narrow."""
    arrow = page.get_by_test_id("stExpandSidebarButton")
    if arrow.is_visible():
        arrow.click()
        still(page)
    return page.get_by_test_id("stSidebar")


def leave_sidebar(page: Page) -> None:
    if (page.viewport_size or {})["width"] == PHONE:
        page.get_by_test_id("stSidebarCollapseButton").get_by_role("button").click()
        still(page)


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
    idle(page)


def until(page: Page, good: Callable[[], bool]) -> None:
    """Wait until something is so, and fail if it never is."""
    give_up = time.monotonic() + WAIT_SECONDS
    while not good() and time.monotonic() < give_up:
        page.wait_for_timeout(50)
    assert good()


def becomes(page: Page, good: Callable[[list[str]], bool]) -> list[str]:
    """The headings of the hits, once they are as they should be."""
    until(page, lambda: good(headings(page)))
    return headings(page)


def go(page: Page, address: str, path: str, heading: str) -> None:
    """Open a page of the site and wait until it is drawn."""
    page.goto(f"{address}/{path}")
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    idle(page)


def assert_hits_are_shown(page: Page, picture: str | None) -> None:
    """The search page shows hits of the very picture that was clicked, and says so in its address."""
    expect(page.locator(".card")).to_have_count(24)
    assert picture
    assert page.locator(".query img").first.get_attribute("src") == picture
    expect(page).to_have_url(HIT_ID)


def points(page: Page) -> Locator:
    return page.get_by_test_id("stVegaLiteChart").locator(".mark-symbol.role-mark path")
