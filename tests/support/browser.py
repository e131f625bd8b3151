"""The real page in a real browser: for the tests, and for the screenshots in the documentation.

`python -m tests.support.browser docs [STORE ...]` writes the screenshots; the stores should hold the sample, and
CBIR_REPORTS the results that `cbir-bench` measured of them.
"""

import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from axe_playwright_python.sync_playwright import Axe
from PIL import ImageOps
from playwright.sync_api import Browser, Page, WebSocket, expect, sync_playwright
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from cbir.images.decode import decode
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--use-fake-device-for-media-stream",  # a camera
    "--use-fake-ui-for-media-stream",
)
START_SECONDS = 180
WAIT_SECONDS = 60
"""The time that an expectation of a browser test may take: much more than it needs on a busy machine."""
NOWHERE = "http://127.0.0.1:9"
DRAWN = ".vega-embed canvas, .vega-embed svg"
PAGES = {"compare": ".card.both", "classes": DRAWN, "map": DRAWN, "bench": DRAWN, "collections": ".stButton"}
"""The other pages, and an element of each that is drawn last."""
NO_INTERNET = {"http_proxy": NOWHERE, "https_proxy": NOWHERE, "no_proxy": "localhost,127.0.0.1"}


def find_chromium() -> str | None:
    """Return the path of an installed Chromium: `CBIR_CHROMIUM`, one in the path, or playwright's own."""
    given = os.environ.get("CBIR_CHROMIUM")
    found = next(filter(None, map(shutil.which, [given, *NAMES] if given else NAMES)), None)
    if found:
        return found
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).is_file() else None


@contextmanager
def chromium(path: str) -> Iterator[Browser]:
    """Start the browser without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@contextmanager
def served(
    stores: Sequence[str], folder: Path, options: Sequence[str] = (), variables: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Run `cbir-ui` on these stores, relative to `folder`, with these environment variables; yield its address."""
    port = free_port()
    command = [sys.executable, "-m", "cbir.ui.launch", "--port", str(port), *(f"--store={store}" for store in stores)]
    command += options
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CBIR_", "STREAMLIT_"))}
    environment |= NO_INTERNET | dict(variables or {})
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            address = f"http://localhost:{port}"
            if not _comes_up(process, f"{address}/_stcore/health"):
                log.seek(0)
                raise RuntimeError(f"the page did not come up: {log.read()}")
            yield address
        finally:
            process.terminate()
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _comes_up(process: "subprocess.Popen[bytes]", address: str) -> bool:
    give_up = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < give_up:
        try:
            with urlopen(address, timeout=5):  # noqa: S310
                return True
        except OSError:
            time.sleep(0.1)
    return False


def scrolls_no_way_sideways(page: Page) -> None:
    """Fail if the page is wider than its window."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.get_by_test_id("stMain").evaluate("node => node.scrollWidth <= node.clientWidth")


@contextmanager
def window(browser: Browser, width: int, height: int = 900, **options: Any) -> Iterator[Page]:
    """Yield a new window without history or cookies; `options` are those of `Browser.new_context`."""
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    context.set_default_timeout(WAIT_SECONDS * 1000)
    expect.set_options(timeout=WAIT_SECONDS * 1000)
    yield context.new_page()
    context.close()


def serious(page: Page) -> list[str]:
    """Return the accessibility problems that axe-core finds on a page and calls "serious" or "critical".

    Problems that go are none, because the contrast is wrong while a page fades in.
    """
    give_up = time.monotonic() + WAIT_SECONDS
    while (found := _serious(page)) and time.monotonic() < give_up:
        still(page)
    return found


def _serious(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [
        f"{violation['id']}: {violation['help']}: {[node['target'] for node in violation['nodes']][:3]}"
        for violation in found
        if violation["impact"] in ("serious", "critical")
    ]


def idle(page: Page) -> None:
    """Wait until the script of the page has ended."""
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")


@contextmanager
def run_again(page: Page, connection: WebSocket) -> Iterator[None]:
    """Wait, after the block, until the server has run the script of the page once more.

    What the page looks like does not tell: if a run is short, the browser need not paint that it is running.
    """
    idle(page)
    with connection.expect_event("framereceived", _ends_a_run, timeout=WAIT_SECONDS * 1000):
        yield
    idle(page)


def _ends_a_run(frame: bytes | str) -> bool:
    return isinstance(frame, bytes) and ForwardMsg.FromString(frame).WhichOneof("type") == "script_finished"


def still(page: Page) -> None:
    """Wait until everything that moves on the page has arrived."""
    page.evaluate(
        "async () => { await new Promise(requestAnimationFrame);"
        " const moving = document.getAnimations().filter((item) => isFinite(item.effect.getComputedTiming().endTime));"
        " await Promise.allSettled(moving.map((item) => item.finished)); }"
    )


def screenshots(folder: Path, stores: Sequence[str]) -> None:
    """Write a screenshot of every page, and one of the search page on a phone in dark mode."""
    path = find_chromium()
    if path is None:
        raise SystemExit("no Chromium found; set CBIR_CHROMIUM")
    with (
        served(
            stores, Path(), variables={name: value for name, value in os.environ.items() if name == "CBIR_REPORTS"}
        ) as address,
        chromium(path) as browser,
    ):
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(120_000)
        _search(page, address)
        page.screenshot(path=folder / "search.png")
        for name, done in PAGES.items():
            page.get_by_role("link", name=name.title(), exact=True).click()
            page.locator(done).first.wait_for()
            idle(page)
            still(page)
            page.screenshot(path=folder / f"{name}.png")
        phone = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark", has_touch=True)
        page = phone.new_page()
        _search(page, address)
        page.screenshot(path=folder / "phone.png")


def _search(page: Page, address: str) -> None:
    page.goto(address)
    page.locator(".tile").first.wait_for()
    image = {"name": "my-fox.png", "mimeType": "image/png", "buffer": _mirrored("1F98A")}
    page.locator("input[type=file]").set_input_files(image)
    page.locator(".card").first.wait_for()
    idle(page)
    still(page)


def _mirrored(key: str) -> bytes:
    """Return a mirrored image of the sample, which is not in the collection."""
    items = open_source("sample://openmoji", SourceOptions()).items
    data = next(item for item in items if item.key == key).read()
    buffer = io.BytesIO()
    ImageOps.mirror(decode(data)).save(buffer, "PNG")
    return buffer.getvalue()


if __name__ == "__main__":
    screenshots(Path(sys.argv[1]), sys.argv[2:] or ["edge:./index", "faiss:./index/faiss"])
