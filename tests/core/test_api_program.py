"""What a user's own program relies on: cheap imports, no main guard, threads, types, and hits that a notebook shows."""

import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from threading import Thread

import pytest
from PIL import Image

import cbir
from cbir.results import Hit, Hits
from tests.support.examples import copy_folder

ROOT = Path(__file__).parents[2]
HEAVY = {"onnxruntime", "faiss", "qdrant_client", "qdrant_edge", "PIL", "pandas", "numpy", "pydantic", "httpx", "grpc"}


@pytest.fixture
def photos(example_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[cbir.Collection]:
    """The collection of the examples, only read."""
    monkeypatch.chdir(example_folder)
    with cbir.open("./index") as photos:
        yield photos


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


def test_a_thread_adds_while_others_search(example_folder: Path, tmp_path: Path) -> None:
    copy_folder(example_folder, tmp_path)
    counts: list[int] = []
    with cbir.open("./index") as photos, cbir.open("./index") as follower:
        thread = Thread(target=lambda: counts.append(photos.add(_food()).stored))
        thread.start()
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: follower.search("query.png", limit=1)[0].key, range(40)))
        thread.join()
        assert set(found) == {"1F600"}
        assert counts == [3]
        assert follower.count() == photos.count() == 303
        assert follower.search(_food()[0], limit=1)[0].score == pytest.approx(1, abs=0.001)


def _food() -> list[str]:
    return sorted(str(path) for path in Path("photos/food").iterdir())


def test_hits_are_a_sequence(photos: cbir.Collection) -> None:
    hits = photos.search("query.png", limit=5)
    assert len(hits) == 5
    assert list(hits) == [hits[index] for index in range(5)]
    assert isinstance(hits[0], cbir.Hit)
    assert hits[-1] == hits[4]
    assert isinstance(hits[1:3], cbir.Hits)
    assert hits[1:3] == [hits[1], hits[2]] == hits[1:3]
    assert hits != hits[:4]
    assert hits != "hits"
    assert hits[0] in hits
    assert hits.index(hits[2]) == 2
    assert list(reversed(hits)) == list(hits)[::-1]
    assert hits == photos.search("query.png", limit=5)
    assert repr(hits).splitlines()[:2] == ["Hits(5)", "  1  1.0000  1F600"]
    with pytest.raises(IndexError):
        hits[5]
    with pytest.raises(AttributeError):
        hits[0].score = 2  # type: ignore[misc]


def test_hits_as_a_table(photos: cbir.Collection) -> None:
    hits = photos.search("query.png", limit=3)
    table = hits.to_pandas()
    assert table.columns.tolist() == ["id", "key", "score", "label", "sha256"]
    assert table["key"].tolist() == [hit.key for hit in hits]
    assert table["score"].tolist() == [hit.score for hit in hits]
    assert hits[:0].to_pandas().columns.tolist() == ["id", "key", "score"]


def test_hits_as_a_gallery(photos: cbir.Collection) -> None:
    hits = photos.search("query.png", limit=3)
    page = hits._repr_html_()
    assert page.count("<figure") == page.count('src="data:image/jpeg;base64,') == 3
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    assert "1F600" in page
    assert "Smileys &amp; Emotion" in page
    assert hits[1:2]._repr_html_().count("<figure") == 1
    assert "no hits" in hits[:0]._repr_html_()


def test_keys_in_a_gallery_are_text() -> None:
    evil = Hit("0", {"key": '"><script>alert(1)</script>', "label": "<b>'&"}, score=0.5)
    page = Hits([evil])._repr_html_()
    assert "<script" not in page
    assert "<b>" not in page
    assert 'alt="&quot;&gt;&lt;script&gt;' in page
    assert 'src=""' not in page
    with pytest.raises(cbir.UsageError, match="no stored thumbnail"):
        evil.image()


def test_a_hit_shows_its_thumbnail(photos: cbir.Collection) -> None:
    image = photos.search("query.png", limit=1)[0].image()
    assert (image.size, image.mode) == ((192, 192), "RGB")
    with Image.open("query.png") as original:
        yellow = original.convert("RGB").resize((192, 192)).getpixel((96, 60))
    assert image.getpixel((96, 60)) == pytest.approx(yellow, abs=12)


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
    told = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300).stdout
    assert re.findall(r'typed\.py:\d+: note: Revealed type is "(.*)"', told) == TYPES
    assert "typed.py" not in re.sub(r"typed\.py:\d+: note", "", told)
    assert sorted(map(int, re.findall(r"wrong\.py:(\d+): error", told))) == [4, 5, 6, 7, 8, 9, 10]
