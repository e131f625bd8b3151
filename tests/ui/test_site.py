"""The site."""

import logging
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from cbir.ui.pages import bench_page
from playwright.sync_api import Browser, Page, expect
from streamlit.testing.v1 import AppTest

from cbir.settings import Settings
from tests.support.browser import serious, window
from tests.support.visitor import DESKTOP, PHONE, settled


@pytest.mark.parametrize("base", [Exception, BaseException])
def test_an_unexpected_error_is_a_sentence_with_a_reference_to_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path, base: type[BaseException]
) -> None:
    """The Qdrant engine's PanicException is no Exception."""

    class PanicException(base):  # type: ignore[misc,valid-type]
        pass

    def draw(settings: Settings) -> None:
        raise PanicException(f"/home/me/secret in {settings.cache}")

    monkeypatch.setattr(bench_page, "draw", draw)
    script = tmp_path / "page.py"
    script.write_text(
        "from cbir.ui import site\nsite._draw(next(page for page in site.PAGES if page.path == 'bench'))\n"
    )
    with caplog.at_level(logging.ERROR, "cbir.ui"):
        seen = AppTest.from_file(str(script), default_timeout=60).run()
    assert not seen.exception
    (error,) = seen.error
    found = re.search(r"Look for \*\*([0-9a-f]{8})\*\* in the log", error.value)
    assert found
    assert "secret" not in error.value
    (record,) = (record for record in caplog.records if record.name == "cbir.ui")
    assert found[1] in record.getMessage()
    assert record.exc_info is not None
    assert "/home/me/secret" in str(record.exc_info[1])
    assert [button.label for button in seen.button] == ["Try again"]
    monkeypatch.setattr(bench_page, "draw", lambda settings: None)
    assert not seen.button[0].click().run().error


@pytest.mark.pages
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_search_and_compare_pages_are_accessible(browser: Browser, site: SimpleNamespace, scheme: str) -> None:
    for width in (DESKTOP, PHONE):
        with window(browser, width, color_scheme=scheme) as page:
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


def test_a_phone_has_a_solid_header_and_no_keyboard_hints(browser: Browser, site: SimpleNamespace) -> None:
    with window(browser, PHONE, 844, has_touch=True, is_mobile=True) as page:
        page.goto(site.address)
        expect(page.locator(".tile")).to_have_count(10)
        header = page.get_by_test_id("stHeader")
        colour = header.evaluate("node => getComputedStyle(node).backgroundColor")
        assert colour == page.get_by_test_id("stApp").evaluate("node => getComputedStyle(node).backgroundColor")
        assert colour != "rgba(0, 0, 0, 0)"
        expect(page.locator(".paste")).to_contain_text("or paste an image")
        expect(page.locator(".paste")).not_to_contain_text("V")


def test_nothing_is_fetched_from_elsewhere(browser: Browser, site: SimpleNamespace) -> None:
    urls: list[str] = []
    with window(browser, DESKTOP) as page:
        page.on("request", lambda request: urls.append(request.url))
        page.goto(site.address)
        page.locator(".tile").first.click()
        expect(page.locator(".card").first).to_be_visible()
    assert [url for url in urls if not url.startswith((site.address, "data:", "blob:"))] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_other_pages_are_accessible(tab: Page, site: SimpleNamespace, scheme: str) -> None:
    tab.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    for path in ("classes", "map", "bench", "collections"):
        tab.goto(f"{site.address}/{path}")
        expect(tab.get_by_role("heading", level=1)).to_be_visible()
        assert serious(tab) == []
