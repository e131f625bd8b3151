"""The package as a user's own program meets it: cheap imports, no main guard, types, and settings that are checked."""

import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

import cbir
from cbir.collection import Collection
from tests.support.api import Call, assert_refused
from tests.support.examples import copy_folder

ROOT = Path(__file__).parents[2]
HEAVY = {"onnxruntime", "faiss", "qdrant_client", "qdrant_edge", "PIL", "pandas", "numpy", "pydantic", "httpx", "grpc"}


def run_script(text: str, folder: Path) -> str:
    """Run a program as a user would, and return what it prints."""
    (folder / "program.py").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", "program.py"], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_importing_costs_nothing(tmp_path: Path) -> None:
    loaded = run_script("import cbir, sys; cbir.__all__, dir(cbir), cbir.CbirError; print(*sys.modules)", tmp_path)
    assert "cbir.errors" in loaded.split()
    assert HEAVY.isdisjoint(name.partition(".")[0] for name in loaded.split())
    assert {name for name in loaded.split() if name.startswith("cbir.")} == {"cbir.errors"}


PROGRAM = """
import sys
import cbir

print("started")
photos = cbir.open(["./fresh", "faiss:./fresh/faiss"], create=True)
report = photos.add("./photos")
hits = photos.search("query.png", limit=2)
photos.facet("label"), photos.vectors(), photos.duplicates(near=3), hits._repr_html_()
print(report.stored, len(hits))
print("pandas" in sys.modules, len(hits.to_pandas()), "pandas" in sys.modules)
"""


def test_a_script_without_a_main_guard_runs_once_and_only_tables_load_pandas(
    example_folder: Path, tmp_path: Path
) -> None:
    copy_folder(example_folder / "photos", tmp_path / "photos")
    (tmp_path / "query.png").write_bytes((example_folder / "query.png").read_bytes())
    assert run_script(PROGRAM, tmp_path).splitlines() == ["started", "6 2", "False 2 True"]


TYPED = """
import cbir
from PIL import Image

with cbir.open("./index", create=True, settings=cbir.Settings(workers=2)) as photos:
    report = photos.add(["a.jpg", b"b", Image.new("RGB", (1, 1))], keys=["a", "b", "c"], payloads=[{}, {}, {"n": 1}])
    hits = photos.search("query.jpg", limit=5, filter="year>=2012", group_by="label")
    reveal_type(photos)
    reveal_type(report.stored)
    reveal_type(hits[0].score)
    reveal_type(hits[0].key)
    reveal_type(hits[:2])
    reveal_type(hits[0].image())
    reveal_type(hits.groups[0].hits)
    reveal_type(photos.get("a"))
    reveal_type(photos.count())
    reveal_type([image.label for image in photos.scroll()])
    reveal_type(photos.search(like=[hits[0], "b"], unlike="c"))
    reveal_type(cbir.collections("./index")[0].points)
    reveal_type(cbir.Embedder().embed(["a.jpg"]).shape)
"""
TYPES = [
    "cbir.collection.Collection",
    "int",
    "float",
    "str",
    "cbir.results.Hits",
    "PIL.Image.Image",
    "list[cbir.results.Hit]",
    "cbir.results.StoredImage | None",
    "int",
    "list[str | None]",
    "cbir.results.Hits",
    "int | None",
    "tuple[Any, ...]",
]
WRONG = """
import cbir

photos = cbir.open(5)
photos.search("a.jpg", limit="5")
photos.search("a.jpg", limits=5)
photos.add("photos").score
cbir.Settings(workers="many")
cbir.Settings(worker=1)
cbir.opened("./index")
"""


@pytest.mark.slow
def test_the_api_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (Path(str(files("cbir"))) / "py.typed").is_file()
    # in the interpreter's path, as an installed package is: mypy reads its types and reports nothing inside of it
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "typed.py").write_text(TYPED)
    (tmp_path / "wrong.py").write_text(WRONG)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary", "typed.py", "wrong.py"]
    output = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300).stdout
    assert re.findall(r'typed\.py:\d+: note: Revealed type is "(.*)"', output) == TYPES
    assert "typed.py" not in re.sub(r"typed\.py:\d+: note", "", output)
    assert sorted(map(int, re.findall(r"wrong\.py:(\d+): error", output))) == [4, 5, 6, 7, 8, 9, 10]


USAGE: dict[str, tuple[Call, str]] = {
    "load an unknown model": (lambda _: cbir.Embedder("resnet"), "no model 'resnet'"),
    "a setting out of range": (lambda _: cbir.Settings(workers=0), "the setting workers: Input should be greater than"),
    "an unknown setting": (lambda _: cbir.Settings(worker=1), "unknown setting 'worker'; the settings are: .*workers"),
}


@pytest.mark.parametrize("name", USAGE)
def test_a_wrong_call_is_one_clear_line(name: str, example_photos: Collection) -> None:
    call, message = USAGE[name]
    assert_refused(lambda: call(example_photos), cbir.UsageError, message)
