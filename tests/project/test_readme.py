"""The README says what the committed report says, and no other measured number."""

import re

import pytest
from cbir.bench.report.report_writer import as_html, as_markdown

from cbir.evaluation.sections import Strip
from tests.support.readme import BLOCKS, README, REPORT, names_of_blocks, outside_of_blocks, read_report, rewritten

MEASURED = re.compile(
    r"\d ?(ms\b|images/s|searches/s|µs)"  # speeds
    r"|(?<!cosine is )(?<!cosine of )\b0\.\d{3,}"  # recalls and precisions; not the limits of a cosine
    r"|\d times (as|faster|slower|the)\b"
    r"|\b(median|p95|p99) \d"
)


def test_every_block_is_there_once_and_says_what_the_report_says() -> None:
    text = README.read_text()
    assert sorted(names_of_blocks(text)) == sorted(BLOCKS)
    assert rewritten(text, read_report(REPORT)) == text, "run `python -m tests.support.readme`"


def test_no_other_measurement_is_in_the_readme() -> None:
    lines = [line for line in outside_of_blocks(README.read_text()).splitlines() if MEASURED.search(line)]
    assert lines == []


def test_another_report_gives_another_readme() -> None:
    text, report = README.read_text(), read_report(REPORT)
    section = report.results[0].section
    assert section is not None
    section.verdicts[0] = "Another model finds best."  # type: ignore[index]
    changed = rewritten(text, report)
    assert changed != text
    assert "Another model finds best." in changed


@pytest.mark.parametrize("line", ["it takes 3 ms", "0.9912 of them", "2.05 times as fast", "1,234 images/s", "p99 4.2"])
def test_what_counts_as_a_measurement(line: str) -> None:
    assert MEASURED.search(line)


def test_the_report_is_what_its_json_says() -> None:
    """All but the plots, whose coordinates are Matplotlib's business."""
    report, folder = read_report(REPORT), REPORT.parent
    first = (folder / "report.md").read_text().splitlines()[0]
    title = first.removeprefix("# ")
    markdown, files = as_markdown(report, title)
    assert (folder / "report.md").read_text() == markdown
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*/*") if path.is_file()} == set(files)
    plain = [
        re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL)
        for text in (as_html(report, title), (folder / "report.html").read_text())
    ]
    assert plain[0] == plain[1]


def test_no_image_of_the_measured_data_set_is_in_the_report() -> None:
    for result in read_report(REPORT).results:
        if result.section and any(isinstance(part, Strip) for part in result.section.parts):
            assert "openmoji" in result.result["collection"], result.kind
