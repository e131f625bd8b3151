"""A report as Markdown and HTML, made of texts that try to be markup."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

from cbir.bench.report.render import as_html, as_markdown
from cbir.bench.report.report_file import FullReport

from cbir.evaluation.result_files import Report
from cbir.evaluation.sections import Bar, Bars, Section, Strip, StripImage
from cbir.tables import Column, Table

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
