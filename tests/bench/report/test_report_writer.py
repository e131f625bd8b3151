"""A report as Markdown and HTML, of texts that try to be markup and of real results."""

import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from cbir.bench.registry import SUBJECTS
from cbir.bench.report.report_writer import FullReport, as_html, as_markdown

from cbir.evaluation.result_files import Report, keep
from cbir.evaluation.sections import Bar, Bars, Section, Strip, StripImage
from cbir.tables import Column, Table
from tests.support.running import Program

EVIL = '<script>alert(1)</script> | `code` [link](http://evil.example) & "quotes"'
NOW = datetime.now(UTC)


class Elements(HTMLParser):
    """What an HTML text asks a browser for."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        assert not any(name.startswith("on") for name, _ in attrs)


def report(section: Section, command: str = "cbir-bench") -> FullReport:
    """Return a report of one section."""
    result = Report("models", NOW, "1", command, {"python": "3"}, {}, section)
    return FullReport(NOW, "1", None, {"python": "3"}, [result])


def test_text_from_outside_is_no_markup() -> None:
    section = Section(
        EVIL,
        EVIL,
        [EVIL],
        [
            Table(EVIL, [Column(EVIL), Column("number", format="d")], [[EVIL, 1]]),
            Strip(EVIL, [StripImage('"/../../x', "/9j/", EVIL)]),
            Bars("plot", EVIL, EVIL, [Bar(EVIL, 1.0, 0.5, 2.0)]),
        ],
        [EVIL],
    )
    page = as_html(report(section, EVIL), EVIL)
    assert "script" not in Elements(page).tags and "<script" not in page
    markdown, files = as_markdown(report(section, EVIL), EVIL)
    prose = re.sub(r"```bash.*?```", "", markdown, flags=re.DOTALL)  # code is shown as it is
    assert "<script" not in prose.replace("\\<script", "") and "[link](" not in prose
    assert all(re.fullmatch(r"(plots|images)/[\w-]+\.(svg|jpg)", name) for name in files)
    (row,) = [line for line in markdown.splitlines() if line.endswith("| 1 |")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 3, "a bar in a cell begins no other"


def test_a_report_starts_with_its_verdicts() -> None:
    markdown, _ = as_markdown(report(Section("How fast?", "Two stores", ["FAISS is twice as fast."])), "Measured")
    assert markdown.splitlines()[:3] == ["# Measured", "", "- FAISS is twice as fast."]


def test_long_text_and_commands_are_wrapped() -> None:
    words = " ".join(["words"] * 100)
    markdown, _ = as_markdown(report(Section("t", words, [words], [], [words]), f"cbir-bench {words}"), "t")
    assert max(map(len, markdown.splitlines())) <= 120
    assert "\ncbir-bench words" in markdown and " \\\nwords" in markdown


@pytest.mark.bench
def test_one_page_holds_everything_and_asks_for_nothing(run: Program, results: Path, tmp_path: Path) -> None:
    code, out, err = run("report", tmp_path / "made", "--from", results, "--title", "Ours & theirs")
    assert code == 0, err
    assert [Path(line).name for line in out.split()] == [
        "report.html", "report.md", "report.json", "report.schema.json",
    ]  # fmt: skip
    page = (tmp_path / "made" / "report.html").read_text()
    found = Elements(page)
    assert not {"script", "link", "iframe", "object", "embed", "form"} & set(found.tags)
    assert all(address.startswith(("#", "data:image/jpeg;base64,")) for address in found.addresses)
    assert "url(http" not in page and "@import" not in page
    assert found.tags.count("svg") == 4 and found.tags.count("h2") == 5
    for words in ("Ours &amp; theirs", "cbir-bench latency", "Versions:", "Machine:", "commit"):
        assert words in page
    assert str(tmp_path.parent) not in page, "where this machine keeps things is nobody's business"


@pytest.mark.bench
def test_the_markdown_shows_files_that_lie_beside_it(run: Program, results: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    (made / "plots").mkdir(parents=True)
    (made / "plots" / "earlier.svg").write_text("of a report before")
    assert run("report", made, "--from", results)[0] == 0
    text = (made / "report.md").read_text()
    shown = set(re.findall(r"\]\(([^)]+)\)|src=\"([^\"]+)\"", text))
    paths = {first or second for first, second in shown}
    written = {path.relative_to(made).as_posix() for path in made.glob("*/*")}
    assert paths == written
    assert any(path.startswith("plots/") for path in written)
    for line in text.splitlines():
        if line.startswith("|---"):
            assert re.fullmatch(r"(\|(---|--:))+\|", line)


@pytest.mark.bench
def test_a_result_of_another_version_leaves_the_earlier_report_alone(
    run: Program, results: Path, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    assert run("report", made, "--from", results)[0] == 0
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    keep({"benchmark": "latency", "curves": [{}]}, tmp_path / "old", ["latency"])
    code, _, err = run("report", made, "--from", tmp_path / "old")
    assert code == 1 and "Cannot read a result of `cbir-bench latency`" in err
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == before
    code, _, err = run("report", made, "--from", tmp_path / "nothing")
    assert code == 2 and "No results in" in err


@pytest.mark.bench
def test_the_report_loads_what_each_subject_saved(results: Path) -> None:
    for path in results.glob("*.json"):
        content = json.loads(path.read_text())["result"]
        subject = SUBJECTS[path.stem]
        assert subject.dump(subject.load(content)) == content
