"""A report as Markdown and HTML, of texts that try to be markup and of real results."""

import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from cbir.bench.registry import SUBJECTS
from cbir.bench.report.report_writer import FullReport, as_html, as_markdown, write

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


def parity_of(*urls: str) -> Report:
    """Return a kept result of stores that find everything."""
    summary = {"mean": 1.0, "p5": 1.0, "worst": 1.0}
    against = {
        "mode": "ordinary", "searched": "scan", "ann_recall_at_k": summary, "queries_below_one": 0,
        "score_difference": summary,
    }  # fmt: skip
    model = {"name": "m", "sha256": "0" * 64, "dimension": 8, "preprocessing": 1, "random_weights": False}
    store = {
        "collection": "c", "dataset": "d", "model": model, "count": 9, "indexed": 9, "generation": "1",
        "access": "scan", "options": {},
    }  # fmt: skip
    result = {
        "benchmark": "parity", "created": "", "versions": {}, "machine": {}, "collection": "c",
        "notes": [f"{url} scans" for url in urls],
        "model": model, "k": 1, "queries": 1, "seed": 1, "points": 9, "pairs": [], "images": [],
        "stores": [store | {"url": url} for url in urls],
        "against_truth": [against | {"store": url} for url in urls],
    }  # fmt: skip
    return Report("parity", NOW, "1", "", {}, result)


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


def test_a_report_removes_what_only_the_earlier_one_shows(tmp_path: Path) -> None:
    own = [tmp_path / "images" / "holiday.jpg", tmp_path / "plots" / "mine.svg"]
    earlier = [tmp_path / "images" / "a_1.jpg", tmp_path / "plots" / "latency-2.svg"]
    for path in own + earlier:
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    caption = r"by \[store\](images/holiday.jpg) \\"
    (tmp_path / "report.md").write_text(
        f"![](images/a_1.jpg) 1\n\n![{caption}](plots/latency-2.svg)\n![](plots/gone.svg)"
    )
    write(tmp_path, "t", [parity_of("edge:a")])
    assert all(path.exists() for path in own)
    assert not any(path.exists() for path in earlier)


def test_two_plots_of_one_name_are_two_files() -> None:
    parts = [Bars("latency", "c", "x", [Bar("a", value, value, value)]) for value in (1.0, 2.0)]
    images = [StripImage("1", data, "") for data in ("/9j/", "/9j/", "/9k=", None)]
    sections = [Section("t", "s", [], [part, Strip("", images)]) for part in parts]
    results = [Report("latency", NOW, "1", "", {}, {}, section) for section in sections]
    markdown, files = as_markdown(FullReport(NOW, "1", None, {}, results), "t")
    assert list(files) == ["plots/latency.svg", "images/1.jpg", "images/1-2.jpg", "plots/latency-2.svg"]
    assert files["plots/latency.svg"] != files["plots/latency-2.svg"]
    shown = re.findall(r"!\[.*\]\(plots/(.+)\)", markdown)
    assert shown == ["latency.svg", "latency-2.svg"]


def test_stores_with_the_same_url_but_for_its_folder_keep_their_names(tmp_path: Path) -> None:
    write(tmp_path, "t", [parity_of("edge:/a/index", "edge:/b/index")])
    text = (tmp_path / "report.md").read_text()
    assert "edge 1, ordinary: recall@1 is 1.0000." in text and "edge 2, ordinary: recall@1 is 1.0000." in text
    written = text + (tmp_path / "report.json").read_text()
    assert "edge:…/index scans" in written and "/a/index" not in written


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
