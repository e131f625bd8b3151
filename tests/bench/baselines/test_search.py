"""Stores and libraries at the same recall: real libraries, each in a process of its own."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cbir.bench.baselines import search
from cbir.bench.baselines.result import SUBJECT
from cbir.bench.core.workload import open_stores, without_held_out

from cbir.errors import UsageError
from cbir.settings import Settings
from cbir.stores.url import parse
from tests.bench.baselines.conftest import COUNT
from tests.support.building import both, store_options
from tests.support.running import Program

BASE_INSTALL = ["faiss", "qdrant-edge", "qdrant-client", "numpy"]
"""What the base install has."""


@pytest.mark.bench
def test_every_library_finds_what_the_exact_answer_has(run: Program, urls: list[str], tmp_path: Path) -> None:
    names = [word for name in BASE_INSTALL for word in ("--baseline", name)]
    target = tmp_path / "baselines.json"
    code, out, err = run(*store_options(urls), "--queries", 30, "--rounds", 2, *names, "--json", target)
    assert code == 0, err
    result = json.loads(target.read_text())
    found = {candidate["name"]: candidate for candidate in result["candidates"]}
    assert list(found) == ["cbir edge", "cbir faiss", *BASE_INSTALL]
    for candidate in found.values():
        assert candidate["missing"] == "" and candidate["megabytes"] > 20 and candidate["build_seconds"] > 0, candidate
        step = candidate["at_recall"]
        assert step["recall"] >= 0.99, candidate["name"]
        assert 0 < step["median_ms"]["low"] <= step["median_ms"]["value"] <= step["median_ms"]["high"]
        assert step["search_ms"]["samples"] == 60 and len(step["rounds_ms"]) == 2
        assert step["batch_per_second"]["low"] > 0 and step["batch_recall"] == pytest.approx(step["recall"], abs=0.02)
        assert candidate["open_ms"]["low"] > 0 and len(candidate["rounds_add_ms"]) == 2
        earlier = candidate["curve"][: candidate["curve"].index(step)]
        assert all(step["recall"] < 0.99 for step in earlier), "the first that reaches it"
    assert found["numpy"]["curve"][0]["recall"] == found["qdrant-client"]["curve"][0]["recall"] == 1
    assert len(found["cbir faiss"]["curve"]) == len(found["faiss"]["curve"]) == len(search.EFS)
    assert [step["recall"] for step in found["cbir faiss"]["curve"]] == pytest.approx(
        [step["recall"] for step in found["faiss"]["curve"]], abs=0.03
    ), "the same graph at the same ef"
    narrow, *_, wide = (step["recall"] for step in found["faiss"]["curve"])
    assert narrow < wide, "ef matters to these vectors"
    assert result["embedding"] == [] and result["versions"]["qdrant-client"]
    assert out.count("at recall@10 >= 0.99") == 5 and out.count("durable and found, ") >= 2
    assert result["queries"] == 30 and result["points"] == COUNT - 30 - 2 * search.ADDED
    assert "points of the collection that no index here has" in result["notes"][0]
    assert SUBJECT.dump(SUBJECT.load(result)) == result


def options(names: list[str]) -> list[str]:
    return [word for name in names for word in ("--baseline", name)]


def by_name(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {found["name"]: found for found in result["candidates"]}


@pytest.mark.bench
def test_what_is_not_there_or_dies_is_named_and_never_a_zero(run: Program, urls: list[str], tmp_path: Path) -> None:
    scripts = {
        "hnswlib": "import hnswlib_that_nobody_has",
        "usearch": "import os, signal; print('about to end', file=sys.stderr); os.kill(os.getpid(), signal.SIGSEGV)",
        "lancedb": 'answer(build_seconds=1, build_megabytes=1, version="0"); job["phase"] == "build" or full()',
    }
    lines = ["import json, sys", "from multiprocessing.connection import Connection"]
    lines += ["def answer(**values): Connection(int(sys.argv[3])).send(values)"]
    lines += ["def full(): raise RuntimeError('disk is full')", "job = json.loads(sys.argv[2])"]
    lines += [f"if job['name'] == {name!r}: {text}" for name, text in scripts.items()]
    python = tmp_path / "python"
    python.write_text("\n".join([f"#!{sys.executable}", *lines]))
    python.chmod(0o755)
    words = ["--baseline-python", python, *options(list(scripts)), "--queries", 20, "--rounds", 1]
    code, out, err = run(*store_options(urls[1:]), *words, "--json", tmp_path / "baselines.json")
    assert code == 0, err
    found = by_name(json.loads((tmp_path / "baselines.json").read_text()))
    assert found["hnswlib"]["missing"] == "not installed: No module named 'hnswlib_that_nobody_has'"
    assert found["usearch"]["missing"] == "failed: about to end"
    assert found["lancedb"]["missing"] == "failed: RuntimeError: disk is full"
    for name in scripts:
        assert found[name]["curve"] == [] and found[name]["at_recall"] is None and found[name]["megabytes"] is None
        assert f"{name}: not measured: {found[name]['missing']}" in " ".join(out.split())
    assert found["cbir faiss"]["at_recall"]


@pytest.mark.bench
def test_a_library_that_takes_too_long_is_named(
    run: Program, urls: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!{sys.executable}\nimport time; time.sleep(60)")
    python.chmod(0o755)
    monkeypatch.setattr(search, "_BUILD_SECONDS", 1.0)
    monkeypatch.setattr(sys, "executable", str(python))
    words = ["--baseline-python", python, "--baseline", "hnswlib", "--queries", 20, "--json", tmp_path / "p.json"]
    code, _, err = run(*store_options(urls[1:]), *words)
    assert code == 0, err
    found = by_name(json.loads((tmp_path / "p.json").read_text()))
    assert found["hnswlib"]["missing"] == found["cbir faiss"]["missing"] == "took more than 1 s"


def test_the_recall_is_that_of_the_timed_answers(made: Path, tmp_path: Path) -> None:
    with open_stores(both(made)[1:], "made", Settings()) as stores:
        workload, _ = without_held_out(stores, 5, 30, 0, 1)
    best = workload.truth.nearest.tolist()
    far = np.argsort(workload.truth.queries @ workload.truth.vectors.T, axis=1)[:, :1].tolist()
    worse = [[*row[:4], *other] for row, other in zip(best, far, strict=True)]
    worker = f"""
import json, sys
from multiprocessing.connection import Connection
channel = Connection(int(sys.argv[2]))
channel.send({{"open_ms": 1}})
for hits in ({worse}, {best}, {worse}):
    channel.recv()
    channel.send({{"megabytes": 1, "ms": [1.0] * 30, "hits": hits, "batch_hits": {worse}, "batch_seconds": 2}})
"""
    job = {"name": "made", "library": "made", "folder": str(tmp_path / "made")}
    candidate = search._Candidate([sys.executable, "-c", worker], job, [16])
    try:
        candidate.open()
        candidate.search(workload, 16, 1, counted=False)
        for _ in range(2):
            candidate.search(workload, 16, 1)
    finally:
        candidate.close()
    found = candidate.result(0.9)
    assert found.missing == "" and found.at_recall is not None
    assert found.at_recall.recall == pytest.approx(0.9) and found.at_recall.recall_p5 == pytest.approx(0.8)
    assert found.at_recall.batch_recall == pytest.approx(0.8)
    assert found.at_recall.batch_per_second is not None and found.at_recall.batch_per_second.value == 15
    assert candidate.result(0.91).at_recall is None


def test_two_stores_of_one_name_are_told_apart(made: Path, tmp_path: Path) -> None:
    with open_stores(both(made)[1:], "made", Settings()) as stores:
        workload, added = without_held_out(stores, 5, 30, 10, 1)
    infos = [replace(workload.infos[0], url=f"faiss:{tmp_path}/{name}/index") for name in "ab"]
    jobs = search._jobs(replace(workload, infos=infos), added, [], "", tmp_path, 1)
    assert [job["name"] for _, job, _ in jobs] == ["cbir faiss 1", "cbir faiss 2"]


def test_a_server_is_refused_in_one_line(made: Path) -> None:
    with open_stores(both(made)[1:], "made", Settings()) as stores:
        info = replace(stores[0].info, url="http://host:1")
    with pytest.raises(UsageError, match="is a server, whose index cannot be built without the held-out points"):
        search._target(info, made)


def test_an_index_is_built_with_the_options_of_the_measured_one(made: Path, tmp_path: Path) -> None:
    with open_stores([f"faiss:{made}/lists?nprobe=3"], "made", Settings()) as stores:
        info = stores[0].info
    found = parse(search._target(info, tmp_path))
    assert found.scheme == "faiss" and found.options == info.options
    assert (found.options["index"], found.options["nprobe"]) == ("IVF32,Flat", "3")
