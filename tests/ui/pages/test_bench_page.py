"""The page of the bench, in a real browser."""

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cbir.ui.pages import bench_page
from playwright.sync_api import Page, expect

from cbir.evaluation.result_files import Report, keep, latest
from cbir.evaluation.sections import Bars, Curves, Section
from tests.core.evaluation.test_sections import SECTION
from tests.support.browser import scrolls_no_way_sideways, served
from tests.support.visitor import go

REPORT = Path(__file__).parents[3] / "docs/report/report.json"


def published() -> list[Report]:
    """Return the results of the published report."""
    from cbir.bench.report.comparison import read_results

    return read_results(REPORT)


@pytest.fixture(scope="module")
def bench_site(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with the published results, one of an unknown kind, and a broken file."""
    folder = tmp_path_factory.mktemp("bench")
    for report in published():
        keep(report.result, folder / "reports", [report.kind, "--store", "edge:/home/me/index"], report.section)
    keep({"benchmark": "novelty"}, folder / "reports", ["novelty"], SECTION)
    (folder / "reports" / "broken.json").write_text("{")
    (folder / ".env").write_text("CBIR_REPORTS=reports\n")
    with served([f"edge:{index}"], folder) as address:
        yield address


@pytest.mark.browser
@pytest.mark.pages
def test_the_latest_results_are_verdicts_plots_and_tables(tab: Page, bench_site: str) -> None:
    go(tab, bench_site, "bench", "Bench")
    main = tab.get_by_test_id("stMain")
    expect(main).to_contain_text("broken.json is left out: it is not JSON")
    sections = [report.section for report in {report.kind: report for report in published()}.values()] + [SECTION]
    for section in sections:
        assert section is not None
        for text in (section.title, *section.verdicts):
            expect(main).to_contain_text(text.replace(">=", "≥"))  # Streamlit's typography
    plots = tab.get_by_test_id("stVegaLiteChart")
    drawn = sum(isinstance(part, Curves | Bars) for section in sections if section for part in section.parts)
    expect(plots).to_have_count(drawn)
    for number in range(drawn):
        expect(plots.nth(number).locator(".mark-symbol path").first).to_be_attached()
    expect(tab.get_by_test_id("stDataFrame")).to_have_count(sum(len(section.tables) for section in sections if section))
    with tab.expect_download() as download:
        tab.get_by_role("button", name="Download CSV").first.click()
    rows = list(csv.reader(io.StringIO(download.value.path().read_text())))
    (first,) = (section for section in sections[:1] if section)
    assert [row[0] for row in rows[1:]] == [row[0] for row in first.tables[0].rows]
    expect(main).to_contain_text("cbir-bench latency --store edge:…/index")
    expect(main).to_contain_text(re.compile(r"Measured 20\d\d-\d\d-\d\d \d\d:\d\d UTC with cbir [\d.]+ on python 3"))
    expect(main).to_contain_text("Not measured yet")
    expect(main).to_contain_text(bench_page.COMMANDS["plan"])
    assert "/home/me" not in tab.content()
    expect(tab.get_by_role("alert").filter(has_text="went wrong")).to_have_count(0)
    scrolls_no_way_sideways(tab)


@pytest.mark.parametrize("part", [3, "text", None, {}, {"title": "t", "columns": [], "rows": [[1]]}, {"kind": "bars"}])
def test_a_file_with_another_section_is_named_and_left_out(part: object, tmp_path: Path) -> None:
    path = keep({"benchmark": "models"}, tmp_path, ["models"], replace(SECTION, parts=()))
    content = json.loads(path.read_text())
    content["section"]["parts"] = [part]
    path.write_text(json.dumps(content))
    found, problems = latest(tmp_path)
    assert not found
    assert problems == ["models.json is left out: it is no report of cbir-bench"]


def test_a_section_needs_no_parts(tmp_path: Path) -> None:
    keep({"benchmark": "models"}, tmp_path, ["models"], Section("t", "s"))
    ((report,), problems) = latest(tmp_path)
    assert report.section == Section("t", "s", [], [], [])
    assert not problems
