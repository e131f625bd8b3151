"""docs/how-it-is-built.md is right: the layers, the files that data flows through, and diffs that work when applied."""

import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cbir.ui.launch import PAGE as APP
from PIL import Image
from streamlit.testing.v1 import AppTest

import cbir

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-it-is-built.md").read_text(encoding="utf-8")
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
PROGRAMS = ("export", "ingest", "ui", "serve", "bench")
MOST_FILES = 14
LABELS = ("Boots", "Boots", "Shoes")


def section(title: str) -> str:
    """Return the text below a heading, up to the next heading of any level."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, f"the page has no heading {title!r}"
    return found[1]


def files_in(text: str) -> list[str]:
    """Return the files that a text names, each once."""
    return list(dict.fromkeys(re.findall(r"`((?:cbir|export|ingest|ui|bench|tests|docs)/[\w/.-]+\.\w+)`", text)))


def files_of_flow(title: str) -> list[str]:
    """Return the files in the numbered list below a heading."""
    return files_in("\n".join(re.findall(r"^(?:\d+\.|  ) .*", section(title), re.MULTILINE)))


def write_photos(folder: Path, numbers: range) -> None:
    for number in numbers:
        pixels = np.random.default_rng(number).integers(0, 255, (4, 4, 3), np.uint8)
        path = folder / LABELS[number % 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).resize((80, 80), Image.Resampling.NEAREST).save(path)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with twelve images in two classes."""
    folder = tmp_path_factory.mktemp("built") / "photos"
    write_photos(folder, range(12))
    return folder


@pytest.fixture(scope="module")
def collection(photos: Path) -> Iterator[cbir.Collection]:
    """These images in an embedded store."""
    with cbir.open(photos.parent / "index", create=True) as opened:
        assert opened.add(photos).stored == 12
        yield opened


def test_the_page_is_short_and_names_no_file_that_is_not_there() -> None:
    lines = PAGE.splitlines()
    assert len(lines) <= 300 and max(map(len, lines)) < 140
    named = files_in(re.sub(r"```diff.*?```", "", PAGE, flags=re.DOTALL))
    assert len(named) > 40
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_the_layers_are_those_that_are_enforced() -> None:
    layers = section("Layers")
    rows = re.findall(r"^\| (`[^|/]+`) \|", layers, re.MULTILINE)
    (core,) = (contract for contract in CONTRACTS if contract.get("containers") == ["cbir"])
    assert [re.findall(r"`(\w+)`", row) for row in rows] == [
        re.split(" [:|] ", layer) for layer in reversed(core["layers"])
    ]


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_order_in_a_program_is_the_one_that_is_enforced(program: str) -> None:
    rows = re.findall(rf"^\| `{program}/`[^|]*\|(.*)\|$", section("Layers"), re.MULTILINE)
    listed = re.findall(r"`(\w+)`", " ".join(rows))
    assert listed
    contracts = [contract for contract in CONTRACTS if contract.get("containers") == [program]]
    for contract in contracts:
        order = [set(re.split(r" [:|] ", layer)) for layer in reversed(contract["layers"])]
        assert set(listed) == set().union(*order)
        ranks = [next(rank for rank, names in enumerate(order) if name in names) for name in listed]
        assert ranks == sorted(ranks)
    assert {
        path.stem for path in (ROOT / program).iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    } - {"__init__"} == set(listed)


def traced(run: Callable[[], Any], thread: str = "") -> set[str]:
    """The files of the project whose functions run meanwhile, in all threads, or in those with such a name."""
    seen: set[str] = set()

    def profile(frame: Any, event: str, argument: object) -> None:
        if event == "call" and threading.current_thread().name.startswith(thread):
            seen.add(frame.f_code.co_filename)

    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    files = (Path(name).resolve() for name in seen)
    inside = (path.relative_to(ROOT).as_posix() for path in files if path.is_relative_to(ROOT))
    return {name for name in inside if name.startswith(("cbir/", *(f"{program}/" for program in PROGRAMS)))}


def test_an_image_goes_the_way_that_is_listed(collection: cbir.Collection, photos: Path, tmp_path: Path) -> None:
    listed = files_of_flow("From a folder to a hit")
    assert len(listed) <= MOST_FILES and f" {len(listed)} files carry" in section("From a folder to a hit")
    with cbir.open(tmp_path / "index", create=True) as opened:
        opened.add(photos)
        more = tmp_path / "photos"
        shutil.copytree(photos, more)
        write_photos(more, range(12, 13))

        def add_and_find() -> None:
            assert opened.add(more, dataset="photos").stored == 1
            assert opened.search(more / LABELS[0] / "12.png", limit=1)[0].key == f"{LABELS[0]}/12.png"

        assert set(listed) - traced(add_and_find) == set()
        write_photos(more, range(13, 14))
        worked = traced(lambda: opened.add(more, dataset="photos"), thread="embed")
    bookkeeping = set(files_in(section("From a folder to a hit"))) - set(listed)
    assert worked - set(listed) <= bookkeeping
    assert {"cbir/pipeline/workers.py", "cbir/images/decode.py", "cbir/models/embedder.py"} <= worked


def test_a_query_goes_the_way_that_is_listed_and_no_other(collection: cbir.Collection, photos: Path) -> None:
    listed = files_of_flow("From an image file to hits")
    assert len(listed) <= MOST_FILES and f" {len(listed)} files carry" in section("From an image file to hits")
    image = photos / LABELS[0] / "3.png"
    collection.search(image)
    ran = traced(lambda: collection.search(image, limit=3))
    assert set(listed) - ran == set()
    aside = set(files_in(section("From an image file to hits"))) - set(listed)
    assert ran - set(listed) <= aside


def test_a_query_on_the_page_goes_the_way_that_is_listed(
    collection: cbir.Collection, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flows = [files_of_flow("An upload becomes a query"), files_of_flow("The query becomes a gallery")]
    assert all(0 < len(listed) <= MOST_FILES for listed in flows)
    monkeypatch.setenv("CBIR_STORES", f"edge:{photos.parent / 'index'}")
    page = AppTest.from_file(APP, default_timeout=60).run()
    image = photos / LABELS[0] / "3.png"
    page.file_uploader[0].set_value([(image.name, image.read_bytes(), "image/png")])
    ran = traced(page.run)
    assert not page.exception and not page.error
    assert {name for listed in flows for name in listed if name.endswith(".py")} - ran == set()


def diff_of(title: str) -> str:
    (diff,) = re.findall(r"^```diff\n(.*?)^```", section(title), re.DOTALL | re.MULTILINE)
    return str(diff)


def applied(title: str, folder: Path) -> Path:
    """Return a copy of the project's code with the diff of a section applied."""
    root = folder / "copy"
    ignored = shutil.ignore_patterns("__pycache__", "weights", *PROGRAMS)
    shutil.copytree(ROOT / "cbir", root / "cbir", ignore=ignored)
    (root / "cbir" / "weights").symlink_to(ROOT / "cbir" / "weights")
    for program in PROGRAMS:
        shutil.copytree(ROOT / program, root / program, ignore=shutil.ignore_patterns("__pycache__"))
        (root / "cbir" / program).symlink_to(root / program)
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder)}
    done = subprocess.run(
        [shutil.which("git") or "git", "apply", "-"],
        input=diff_of(title),
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return root


def run_in(root: Path, code: str, *words: object) -> str:
    """Run code with the copy in the place of the project; return its standard output."""
    script = root.parent / "script.py"
    script.write_text(f"import cbir\nassert cbir.__file__.startswith({str(root)!r}), cbir.__file__\n{code}")
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, script, *map(str, words)]
    done = subprocess.run(command, cwd=root.parent, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("title", ["A source", "A store", "A backbone", "A metric", "A page"])
def test_a_diff_is_at_most_a_new_file_and_a_line(title: str) -> None:
    changed = [part for part in re.split(r"^--- ", diff_of(title), flags=re.MULTILINE) if part]
    new = [part for part in changed if part.startswith("/dev/null")]
    assert len(new) <= 1 and len(changed) - len(new) == 1
    (registry,) = set(changed) - set(new)
    assert not re.search(r"^-", registry, re.MULTILINE)
    added = re.findall(r"^\+(?!\+\+ )(.*\S.*)$", registry, re.MULTILINE)
    in_the_registry = [line for line in added if line.startswith("    ") and line.endswith(",")]
    assert len(in_the_registry) == 1
    assert len(added) == 1 or title == "A metric", "whose function is in the same file"


def test_the_source_is_ingested(photos: Path, tmp_path: Path) -> None:
    code = """
import sys
photos = cbir.open("./index", create=True)
report = photos.add(sys.argv[1])
print(report.stored, photos.facet("label"), photos.add(sys.argv[1]).unchanged)
"""
    out = run_in(applied("A source", tmp_path), code, f"glob:{photos}/*/*.png")
    assert out == "12 [('Boots', 8), ('Shoes', 4)] 12\n"


def test_the_store_answers_as_an_exact_search_does(photos: Path, tmp_path: Path) -> None:
    code = """
import sys
import numpy as np
stores = ["edge:./index", "exact:./index/exact"]
report = cbir.open(stores, create=True).add(sys.argv[1])
edge, exact = map(cbir.open, stores)
assert (report.stored, exact.count(), exact.info.access, exact.verify()) == (12, 12, "scan", [])
keys = [image.key for image in exact.scroll()]
others = np.random.default_rng(0).normal(size=(4, exact.vectors().shape[1])).astype(np.float32)
for vector in np.concatenate([exact.vectors()[:4], others]):
    order = np.argsort(-(exact.vectors() @ vector), kind="stable")
    assert [hit.key for hit in exact.search(vector, limit=12)] == [keys[row] for row in order]
    for options in ({}, {"filter": "label=Boots"}, {"offset": 2, "min_score": -1.0}, {"group_by": "label"}):
        ours, theirs = (found.search(vector, limit=5, exact=True, **options) for found in (exact, edge))
        assert [hit.key for hit in ours] == [hit.key for hit in theirs]
        assert np.allclose([hit.score for hit in ours], [hit.score for hit in theirs], atol=1e-5)
print("equal")
"""
    assert run_in(applied("A store", tmp_path), code, photos) == "equal\n"


def test_the_backbone_is_listed_without_torch(tmp_path: Path) -> None:
    code = """
import sys
from cbir.export import command
sys.argv = ["cbir-export", "list"]
try:
    command.main()
finally:
    assert "torch" not in sys.modules
"""
    out = run_in(applied("A backbone", tmp_path), code)
    (line,) = (line for line in out.splitlines() if line.split()[:1] == ["resnet50"])
    assert "resnet50.a1_in1k" in line and "2048" in line and "23.5" in line


def test_the_metric_is_in_results_and_in_the_table(photos: Path, tmp_path: Path) -> None:
    code = """
import json, sys
from cbir.bench import command
from cbir.bench.accuracy.result import SUBJECT
from cbir.bench.core.metrics import definitions
options = ["--protocol=leave-one-out", "-k2", "--resamples=100", "--json=a.json"]
sys.argv = ["cbir-bench", "accuracy", sys.argv[1], *options]
try:
    command.main()
except SystemExit as ended:
    assert not ended.code
with open("a.json") as file:
    result = json.load(file)
(model,) = result["models"]
value, (low, high) = model["metrics"]["perfect_at_2"], model["intervals"]["perfect_at_2"]
assert 0 <= low <= value <= high <= 1 and value <= model["metrics"]["precision_at_2"]
section = SUBJECT.present(SUBJECT.load(result))
(table,) = (table for table in section.tables if "all@2" in [column.header for column in table.columns])
shown = table.rows[0][[column.header for column in table.columns].index("all@2")]
print("result", definitions(2)["perfect_at_2"], shown == value)
"""
    out = run_in(applied("A metric", tmp_path), code, photos)
    assert out.splitlines()[-1] == "result whether all of the k hits are True"


def test_the_page_is_drawn(collection: cbir.Collection, photos: Path, tmp_path: Path) -> None:
    code = """
import os, sys
os.environ["CBIR_STORES"] = sys.argv[1]
from streamlit.testing.v1 import AppTest

def alone() -> None:
    from cbir.ui import site

    site.PAGES = tuple(page for page in site.PAGES if page.path == "labels")
    site.render()

page = AppTest.from_function(alone, default_timeout=60).run()
assert not page.exception and not page.error, (page.exception, page.error)
print(page.title[0].value, page.dataframe[0].value.to_dict("list"))
"""
    out = run_in(applied("A page", tmp_path), code, f"edge:{photos.parent / 'index'}")
    assert out == "The labels of a collection {'label': ['Boots', 'Shoes'], 'images': [8, 4]}\n"
