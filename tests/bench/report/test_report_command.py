"""`cbir-bench report` and `compare` on real results."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from cbir.bench import command
from cbir.bench.registry import SUBJECTS

from cbir.evaluation.result_files import keep
from tests.bench.report.test_render import Elements
from tests.support.bench_stores import KINDS, build_kinds
from tests.support.building import both, store_options, unit_vectors
from tests.support.running import Program, run_here, runner

pytestmark = pytest.mark.bench


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, photo_folder: Path) -> Path:
    """A folder with kept results of parity, latency, models, accuracy and baselines, each of a real run."""
    root = tmp_path_factory.mktemp("report")
    urls = both(root / "index")
    build_kinds(urls, unit_vectors(400, dimension=1280), [KINDS[at * 7 % 600] for at in range(400)])
    stores = store_options(urls)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CBIR_REPORTS", str(root / "results"))
        for words in (
            ["parity", *stores, "--queries", 20, "--images"],
            [
                "latency",
                *stores,
                "--queries",
                20,
                "--rounds",
                2,
                "--ef",
                "16,64",
                "--threads",
                "1,2",
                "--seconds",
                0.2,
            ],
            ["models", "--rounds", 2, "--batch", "1"],
            ["accuracy", photo_folder, "--limit", 60, "-k", 2],
            [
                "baselines",
                *stores,
                "--queries",
                20,
                "--rounds",
                2,
                "--baseline",
                "numpy",
                "--baseline",
                "faiss",
                "--baseline",
                "hnswlib",
            ],
        ):
            done = run_here(command.main, "cbir-bench", *words)
            assert done.returncode == 0, (words[0], done.stderr)
    return root / "results"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    return runner(monkeypatch, capsys, command.main, "cbir-bench")


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


def test_the_json_keeps_to_its_schema_and_can_be_compared(run: Program, results: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    assert run("report", made, "--from", results)[0] == 0
    content = json.loads((made / "report.json").read_text())
    schema = json.loads((made / "report.schema.json").read_text())
    jsonschema.validate(content, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**content, "schema": 1}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**content, "results": [{"kind": "models"}]}, schema)
    assert {result["kind"] for result in content["results"]} == {"accuracy", "parity", "latency", "models", "baselines"}

    code, out, _ = run("compare", made / "report.json", made / "report.json")
    assert code == 0 and out.startswith("Nothing changed beyond noise, of ")
    slower = json.loads(json.dumps(content))
    (models,) = [result["section"] for result in slower["results"] if result["kind"] == "models"]
    (row,) = models["parts"][0]["rows"]
    (index,) = [i for i, column in enumerate(models["parts"][0]["columns"]) if column["better"] == "lower"]
    row[index] = {name: 10 * value for name, value in row[index].items()}
    (tmp_path / "slower.json").write_text(json.dumps(slower))
    code, out, _ = run("compare", made / "report.json", tmp_path / "slower.json")
    assert code == 0 and out.startswith("1 worse and 0 better") and "+900.0%" in out
    code, out, _ = run("compare", tmp_path / "slower.json", made / "report.json", "--json", "-")
    changed = {change["before"]["name"]: change["verdict"] for change in json.loads(out)["changes"]}
    assert [verdict for verdict in changed.values() if verdict != "the same"] == ["better"]
    for start in ("accuracy / ", "latency / Searches by one client / edge, ", "models / ", "parity / ", "baselines / "):
        assert any(name.startswith(start) for name in changed), start


def test_the_report_loads_what_each_subject_saved(results: Path) -> None:
    for path in results.glob("*.json"):
        content = json.loads(path.read_text())["result"]
        subject = SUBJECTS[path.stem]
        assert subject.dump(subject.load(content)) == content


def test_a_single_result_can_be_compared_too(run: Program, results: Path, tmp_path: Path) -> None:
    result = json.loads((results / "models.json").read_text())["result"]
    (tmp_path / "result.json").write_text(json.dumps(result))
    code, out, _ = run("compare", tmp_path / "result.json", tmp_path / "result.json", "--all")
    assert code == 0 and "of 1 numbers" in out and "efficientnet_lite0" in out


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "cannot be read: No such file or directory"),
        (lambda path: path.write_text("{"), "is not JSON"),
        (lambda path: path.write_text("[" * 100_000), "is not JSON"),
        (lambda path: path.write_text('{"figures": 1}'), "is not a report.json of `cbir-bench report`"),
        (lambda path: path.write_text('{"benchmark": "latency", "curves": [{}]}'), "Another version of cbir"),
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
    assert code == 1 and "Cannot read a result of `cbir-bench latency`" in err
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == before
    code, _, err = run("report", made, "--from", tmp_path / "nothing")
    assert code == 2 and "No results in" in err
