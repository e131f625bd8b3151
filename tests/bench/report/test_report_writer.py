"""A report of real results, as files in a folder."""

import re
from pathlib import Path

import pytest

from cbir.evaluation.result_files import keep
from tests.bench.report.test_render import Elements
from tests.support.running import Program

pytestmark = pytest.mark.bench


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
