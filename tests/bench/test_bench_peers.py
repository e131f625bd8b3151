"""`cbir-bench peers`: real libraries in processes of their own, those that are not there, and those that die."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from cbir.bench import command
from cbir.bench.baselines import search
from cbir.bench.baselines.search import Candidate, Width
from cbir.bench.baselines.view import behind, fastest
from cbir.bench.core.synthetic import clustered
from cbir.bench.core.timing import Spread, times

from tests.bench.test_bench_stores import KINDS, build_kinds
from tests.support.building import both, store_options
from tests.support.running import Program, runner

pytestmark = pytest.mark.bench
COUNT = 2500  # more than Qdrant scans anyway
HERE = ["faiss", "qdrant-edge", "qdrant-client", "numpy"]
"""What the base install has."""


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("peers") / "index"
    build_kinds(both(root), clustered(COUNT, 1280, 1), [KINDS[at * 7 % 600] for at in range(COUNT)])
    return both(root)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    return runner(monkeypatch, capsys, command.main, "cbir-bench", "peers")


def peers(names: list[str]) -> list[str]:
    return [word for name in names for word in ("--peer", name)]


def by_name(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in result["search"]["candidates"]}


def test_every_library_finds_what_the_exact_answer_has(run: Program, urls: list[str], tmp_path: Path) -> None:
    target = tmp_path / "peers.json"
    code, out, err = run(*store_options(urls), "--queries", 30, "--rounds", 2, *peers(HERE), "--json", target)
    assert code == 0, err
    result = json.loads(target.read_text())
    found = by_name(result)
    assert list(found) == ["cbir edge", "cbir faiss", *HERE]
    for one in found.values():
        assert one["missing"] == "" and one["megabytes"] > 20 and one["build_seconds"] > 0, one
        at = one["at_recall"]
        assert at["recall"] >= 0.99, one["name"]
        assert 0 < at["median_ms"]["lowest"] <= at["median_ms"]["median"] <= at["median_ms"]["highest"]
        assert at["search_ms"]["samples"] == 60
        assert all(width["recall"] < 0.99 for width in one["curve"][: one["curve"].index(at)]), "the first that does"
    assert found["numpy"]["curve"][0]["recall"] == found["qdrant-client"]["curve"][0]["recall"] == 1
    assert len(found["cbir faiss"]["curve"]) == len(found["faiss"]["curve"]) == len(search.WIDTHS)
    assert [width["recall"] for width in found["cbir faiss"]["curve"]] == pytest.approx(
        [width["recall"] for width in found["faiss"]["curve"]], abs=0.03
    ), "the same graph, searched as widely"
    assert result["search"]["fastest"] in HERE
    assert set(result["search"]["behind_fastest"]) == {"cbir edge", "cbir faiss"}
    assert result["embedding"] is None and result["versions"]["qdrant-client"]
    assert "times the median of" in out


def test_what_is_not_there_or_dies_is_named_and_never_a_zero(run: Program, urls: list[str], tmp_path: Path) -> None:
    scripts = {
        "hnswlib": "import hnswlib_that_nobody_has",
        "usearch": "import os, signal; print('about to end', file=sys.stderr); os.kill(os.getpid(), signal.SIGSEGV)",
        "lancedb": 'answer(build_seconds=1, build_megabytes=1, version="0"); raise RuntimeError("disk is full")',
    }
    lines = ["import json, sys", "def answer(**values): print(json.dumps(values), flush=True)"]
    lines += [f"if json.loads(sys.argv[2])['name'] == {name!r}: {text}" for name, text in scripts.items()]
    python = tmp_path / "python"
    python.write_text("\n".join([f"#!{sys.executable}", *lines]))
    python.chmod(0o755)
    words = ["--peer-python", python, *peers(list(scripts)), "--queries", 20, "--rounds", 1]
    code, out, err = run(*store_options(urls[1:]), *words, "--json", tmp_path / "peers.json")
    assert code == 0, err
    found = by_name(json.loads((tmp_path / "peers.json").read_text()))
    assert found["hnswlib"]["missing"] == "not installed: No module named 'hnswlib_that_nobody_has'"
    assert found["usearch"]["missing"] == "failed: about to end"
    assert found["lancedb"]["missing"] == "failed: RuntimeError: disk is full"
    for name in scripts:
        assert found[name]["curve"] == [] and found[name]["at_recall"] is None and found[name]["megabytes"] is None
        assert f"{name}: not measured: {found[name]['missing']}" in " ".join(out.split())
    assert found["cbir faiss"]["at_recall"]


def test_one_that_takes_too_long_is_named(
    run: Program, urls: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!{sys.executable}\nimport time; time.sleep(60)")
    python.chmod(0o755)
    monkeypatch.setattr(search, "_BUILD_SECONDS", 1.0)
    monkeypatch.setattr(sys, "executable", str(python))
    words = ["--peer-python", python, "--peer", "hnswlib", "--queries", 20, "--json", tmp_path / "p.json"]
    code, _, err = run(*store_options(urls[1:]), *words)
    assert code == 0, err
    found = by_name(json.loads((tmp_path / "p.json").read_text()))
    assert found["hnswlib"]["missing"] == found["cbir faiss"]["missing"] == "took more than 1 s"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--peer", "pinecone"], "--peer pinecone: there is fastembed, torch, sentence-transformers, faiss,"),
        (["--peer-python", "/no/such/python"], "--peer-python /no/such/python is no program"),
        (["--limit", "5"], "--model, --label, --top-classes and --limit mean nothing without a SOURCE"),
    ],
)
def test_misuse_is_one_line(run: Program, urls: list[str], words: list[str], said: str) -> None:
    code, _, err = run(*store_options(urls), *words)
    assert code == 2 and said in err and len(err.strip().splitlines()) == 1


def candidate(name: str, ours: bool, median: float | None) -> Candidate:
    at = None if median is None else Width(16, 0.99, 0.9, 0.8, times([median]), Spread(median, median, median))
    return Candidate(name, "", ours, at_recall=at)


def test_ours_are_compared_with_the_fastest_library_that_reaches_the_recall() -> None:
    made = [
        candidate("cbir edge", True, 3.0),
        candidate("cbir faiss", True, None),
        candidate("slow", False, 4.0),
        candidate("fast", False, 2.0),
        candidate("careless", False, None),
    ]
    assert fastest(made) == "fast"
    assert behind(made) == {"cbir edge": 1.5}
    assert fastest(made[:2]) is None and behind(made[:2]) == {}
