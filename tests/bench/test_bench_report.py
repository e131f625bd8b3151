"""`cbir-bench report` and `compare`: made of real results, and of texts that try to be markup."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cbir.bench import command
from cbir.bench.core.document import Curves, Document, Picture, Ranges, Section, Strip, Table
from cbir.bench.core.stores import store_name
from cbir.bench.report.comparison import Figure, compare, figures
from cbir.bench.report.plots import draw
from cbir.bench.report.render import as_html, as_markdown
from cbir.ui.components import bench_results, bench_stores
from hypothesis import given
from hypothesis import strategies as st

from cbir.evaluation.result_files import keep
from tests.bench.test_bench_stores import KINDS, build_kinds
from tests.support.building import both, store_options, unit_vectors
from tests.support.running import Program, run_here, runner

pytestmark = pytest.mark.bench
PAGE = {
    "accuracy": bench_results.accuracy,
    "latency": bench_results.latency,
    "models": bench_results.models,
    "peers": bench_results.peers,
    "parity": bench_stores.parity,
}
EVIL = '<script>alert(1)</script> | `code` [link](http://evil.example) & "quotes"'


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, photo_folder: Path) -> Path:
    """A folder with kept results of parity, latency, models, accuracy and peers, each of a real run."""
    root = tmp_path_factory.mktemp("report")
    urls = both(root / "index")
    build_kinds(urls, unit_vectors(400, dimension=1280), [KINDS[at * 7 % 600] for at in range(400)])
    stores = store_options(urls)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CBIR_REPORTS", str(root / "results"))
        for words in (
            ["parity", *stores, "--queries", 20, "--pictures"],
            [
                "latency",
                *stores,
                "--queries",
                20,
                "--rounds",
                2,
                "--effort",
                "16,64",
                "--threads",
                "1,2",
                "--seconds",
                0.2,
            ],
            ["models", "--rounds", 2, "--batch", "1"],
            ["accuracy", photo_folder, "--limit", 60, "-k", 2],
            [
                "peers",
                *stores,
                "--queries",
                20,
                "--rounds",
                2,
                "--peer",
                "numpy",
                "--peer",
                "faiss",
                "--peer",
                "hnswlib",
            ],
        ):
            done = run_here(command.main, "cbir-bench", *words)
            assert done.returncode == 0, (words[0], done.stderr)
    return root / "results"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    return runner(monkeypatch, capsys, command.main, "cbir-bench")


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


def test_one_page_holds_everything_and_asks_for_nothing(run: Program, results: Path, tmp_path: Path) -> None:
    code, out, err = run("report", tmp_path / "made", "--from", results, "--title", "Ours & theirs")
    assert code == 0, err
    assert [Path(line).name for line in out.split()] == [
        "report.html", "report.md", "report.json", "report.schema.json",
    ]  # fmt: skip
    page = (tmp_path / "made" / "report.html").read_text()
    found = Elements(page)
    assert not {"script", "link", "iframe", "object", "embed", "form"} & set(found.tags)
    assert all(one.startswith(("#", "data:image/jpeg;base64,")) for one in found.addresses)
    assert "url(http" not in page and "@import" not in page
    assert found.tags.count("svg") == 4 and found.tags.count("h2") == 5
    for words in ("Ours &amp; theirs", "cbir-bench latency", "Seed of every sample", "Versions:", "Machine:", "commit"):
        assert words in page
    assert str(tmp_path.parent) not in page, "where this machine keeps things is nobody's business"


def test_the_markdown_shows_files_that_lie_beside_it(run: Program, results: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    (made / "plots").mkdir(parents=True)
    (made / "plots" / "earlier.svg").write_text("of a report before")
    assert run("report", made, "--from", results)[0] == 0
    text = (made / "report.md").read_text()
    shown = set(re.findall(r"\]\(([^)]+)\)|src=\"([^\"]+)\"", text))
    paths = {one or other for one, other in shown}
    there = {path.relative_to(made).as_posix() for path in made.glob("p*/*")}
    assert paths == there
    assert any(one.startswith("plots/") for one in there)
    for line in text.splitlines():
        if line.startswith("|---"):
            assert re.fullmatch(r"\|---\|(--:\|)*|(\|---)+\|", line)


def test_the_json_keeps_to_its_schema_and_can_be_compared(run: Program, results: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    assert run("report", made, "--from", results)[0] == 0
    content = json.loads((made / "report.json").read_text())
    schema = json.loads((made / "report.schema.json").read_text())
    jsonschema.validate(content, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**content, "schema": 2}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**content, "figures": [{"name": "without a value"}]}, schema)
    assert {one["kind"] for one in content["results"]} == {"accuracy", "parity", "latency", "models", "peers"}
    names = [one["name"] for one in content["figures"]]
    assert len(set(names)) == len(names)
    for start in ("accuracy / ", "latency / edge / ", "models / ", "parity / faiss / ", "peers / cbir faiss / "):
        assert any(name.startswith(start) for name in names), start
    assert all(one["low"] <= one["value"] <= one["high"] for one in content["figures"])

    code, out, _ = run("compare", made / "report.json", made / "report.json")
    assert code == 0 and f"0 worse, 0 better, 0 within noise, {len(names)} the same" in out
    slower = json.loads(json.dumps(content))
    (at,) = [number for number, name in enumerate(names) if name == "latency / edge / scan / median"]
    for part in ("value", "low", "high"):
        slower["figures"][at][part] *= 10
    (tmp_path / "slower.json").write_text(json.dumps(slower))
    code, out, _ = run("compare", made / "report.json", tmp_path / "slower.json")
    assert code == 0 and "1 worse, 0 better" in out and "+900.0%" in out
    code, out, _ = run("compare", tmp_path / "slower.json", made / "report.json", "--json", "-")
    changed = {one["before"]["name"]: one["verdict"] for one in json.loads(out)["changes"]}
    assert {name for name, verdict in changed.items() if verdict != "the same"} == {"latency / edge / scan / median"}
    assert changed["latency / edge / scan / median"] == "better"


def test_one_result_can_be_compared_too(run: Program, results: Path, tmp_path: Path) -> None:
    result = json.loads((results / "models.json").read_text())["result"]
    (tmp_path / "one.json").write_text(json.dumps(result))
    code, out, _ = run("compare", tmp_path / "one.json", tmp_path / "one.json", "--all")
    assert code == 0 and "1 the same, of 1" in out and "efficientnet_lite0" in out


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "cannot be read: No such file or directory"),
        (lambda path: path.write_text("{"), "is not JSON"),
        (lambda path: path.write_text("[" * 100_000), "is not JSON"),
        (lambda path: path.write_text('{"figures": 1}'), "is no report.json of cbir-bench report"),
        (lambda path: path.write_text('{"benchmark": "latency", "curves": [{}]}'), "another version of cbir"),
    ],
)
def test_what_is_no_report_is_one_line(run: Program, tmp_path: Path, make: Callable[[Path], object], said: str) -> None:
    path = tmp_path / "given.json"
    make(path)
    code, _, err = run("compare", path, path)
    assert code in (1, 2) and said in err and len(err.strip().splitlines()) == 1


def test_a_result_of_another_version_leaves_the_earlier_report_alone(
    run: Program, results: Path, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    assert run("report", made, "--from", results)[0] == 0
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    keep({"benchmark": "latency", "curves": [{}]}, tmp_path / "old", ["latency"])
    code, _, err = run("report", made, "--from", tmp_path / "old")
    assert code == 1 and "the result of latency was made by another version of cbir" in err
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == before
    code, _, err = run("report", made, "--from", tmp_path / "nothing")
    assert code == 2 and "has no results" in err


def test_text_from_outside_is_no_markup() -> None:
    section = Section(
        EVIL, EVIL, EVIL,
        [
            Table(EVIL, [EVIL, "figure"], [[EVIL, "1"]]),
            Strip(EVIL, [Picture('"/../../x', b"\xff\xd8", EVIL)]),
            Ranges("plot", EVIL, EVIL, [(EVIL, 1.0, 0.5, 2.0)]),
        ],
        [EVIL],
    )  # fmt: skip
    document = Document(EVIL, [EVIL], [section])
    page = as_html(document)
    assert "script" not in Elements(page).tags and "<script" not in page
    markdown, files = as_markdown(document)
    prose = "\n".join(line for line in markdown.splitlines() if not line.startswith("    "))  # code is shown as it is
    assert "<script" not in prose.replace("\\<script", "") and "[link](" not in prose
    assert all(re.fullmatch(r"(plots|pictures)/[\w-]+\.(svg|jpg)", one) for one in files)
    (row,) = [line for line in markdown.splitlines() if line.endswith("| 1 |")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 3, "a bar in a cell begins no other"


def test_plots_are_the_same_for_the_same_figures() -> None:
    series = {"one": [((0.9, 100.0), True), ((0.8, 50.0), False)], "two": [((1.0, 10.0), True)]}
    assert draw(Curves("p", "", "x", "y", series, 0.99)) == draw(Curves("p", "", "x", "y", series, 0.99))
    assert "one" in draw(Curves("p", "", "x", "y", series))


spans = st.tuples(*[st.floats(0, 100) for _ in range(3)]).map(sorted)


@given(spans, spans, st.sampled_from(["higher", "lower"]))
def test_a_change_is_one_only_where_the_intervals_have_nothing_in_common(
    one: list[float], two: list[float], better: Any
) -> None:
    before, after = (Figure("f", middle, low, high, "", better) for low, middle, high in (one, two))
    (change,) = compare([before], [after]).changes
    apart = one[2] < two[0] or two[2] < one[0]
    assert (change.verdict in ("better", "worse")) == apart
    (back,) = compare([after], [before]).changes
    opposite = {"better": "worse", "worse": "better"}
    assert back.verdict == opposite.get(change.verdict, change.verdict)
    if apart:
        assert (change.verdict == "better") == ((two[1] > one[1]) == (better == "higher"))


def test_figures_that_only_one_report_has_are_named() -> None:
    made = [Figure(name, 1, 1, 1, "", "higher") for name in "abc"]
    found = compare(made[:2], made[1:])
    assert (found.only_before, found.only_after) == (["a"], ["c"])
    assert figures({"benchmark": "of another kind"}) == []


def test_the_page_reads_what_was_measured(results: Path) -> None:
    for kind, read in PAGE.items():
        found = read(json.loads((results / f"{kind}.json").read_text())["result"])
        assert any(section.rows for section in found.sections), kind


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("edge:/home/ann/index", "edge"),
        ("faiss:/home/ann/index/faiss", "faiss"),
        ("faiss:./index/flat?index=Flat", "faiss flat index=Flat"),
        ("https://ann:secret@host:6333", "server"),
    ],
)
def test_a_store_is_named_without_where_it_is(url: str, name: str) -> None:
    assert store_name(url) == name
