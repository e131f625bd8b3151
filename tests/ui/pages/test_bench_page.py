"""The page of the bench, in a real browser."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import streamlit
from cbir.ui.pages import bench_page
from playwright.sync_api import Page, expect

from cbir.evaluation.result_files import Report, keep
from tests.support.browser import scrolls_no_way_sideways, served
from tests.support.visitor import go

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
        for one in json.loads((Path(__file__).parents[3] / "docs/report/report.json").read_text())["results"]
        if one["kind"] in ("accuracy", "latency", "models", "peers")
    ),
]


@pytest.fixture(scope="module")
def bench_site(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with reports of every kind."""
    folder = tmp_path_factory.mktemp("bench")
    for report in REPORTS:
        keep(report, folder / "reports", [str(report["benchmark"]), "--store", "edge:/home/me/index"])
    (folder / "reports" / "broken.json").write_text("{")
    (folder / ".env").write_text("CBIR_REPORTS=reports\n")
    with served([f"edge:{index}"], folder) as address:
        yield address


def test_the_latest_reports_are_plots_and_tables(tab: Page, bench_site: str) -> None:
    go(tab, bench_site, "bench", "Bench")
    main = tab.get_by_test_id("stMain")
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
    plots = tab.get_by_test_id("stVegaLiteChart")
    expect(plots).to_have_count(12)
    for number in range(12):
        expect(plots.nth(number).locator(".mark-symbol path, .mark-rect path").first).to_be_attached()
    expect(tab.get_by_test_id("stDataFrame")).to_have_count(16)
    expect(main).to_contain_text("Qdrant Edge · index: it did not answer")
    expect(main).to_contain_text("lite0, fastembed: fastembed is not installed")
    expect(main).to_contain_text("cbir-bench stores --store edge:…/index")
    expect(main).to_contain_text(re.compile(r"Measured 20\d\d-\d\d-\d\d \d\d:\d\d UTC with cbir [\d.]+ on python 3"))
    expect(main).to_contain_text("Not measured yet. This measures it, and keeps it for this page:")
    expect(main).to_contain_text("cbir-bench plan 1M 100M 1B")
    expect(main).to_contain_text("A report of a kind that this page has no plot for.")
    expect(main).to_contain_text("Another version of cbir made this report; here it is as it was written.")
    assert "/home/me" not in tab.content()
    expect(tab.get_by_role("alert").filter(has_text="went wrong")).to_have_count(0)
    scrolls_no_way_sideways(tab)


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
