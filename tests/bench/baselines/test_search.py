"""Stores and libraries at the same recall: real libraries, each in a process of its own."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cbir.bench.baselines import search
from cbir.bench.baselines.result import SUBJECT
from cbir.bench.core.workload import open_workload

from cbir.settings import Settings
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
        assert step["search_ms"]["samples"] == 60
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
    assert out.count(", the fastest library, at recall 0.99.") == 2
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
        "lancedb": 'answer(build_seconds=1, build_megabytes=1, version="0"); raise RuntimeError("disk is full")',
    }
    lines = ["import json, sys", "from multiprocessing.connection import Connection"]
    lines += ["def answer(**values): Connection(int(sys.argv[3])).send(values)"]
    lines += [f"if json.loads(sys.argv[2])['name'] == {name!r}: {text}" for name, text in scripts.items()]
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


WORKER = """
import json, sys
from multiprocessing.connection import Connection
job, channel = json.loads(sys.argv[1]), Connection(int(sys.argv[2]))
channel.send({"version": "1"})
while True:
    channel.recv()
    channel.send({"megabytes": 1, "hits": job["hits"]})
"""


def test_the_query_itself_is_no_hit_of_a_candidate(made: Path, tmp_path: Path) -> None:
    with open_workload(both(made)[1:], "made", 5, 30, 1, Settings()) as workload:
        scores = workload.truth.vectors[workload.truth.queries] @ workload.truth.vectors.T
        best = np.argsort(-scores, axis=1)
        itself = workload.truth.queries[:, None]
        others = np.array([row[row != query] for row, query in zip(best, workload.truth.queries, strict=True)])
        for hits, expected in (
            (np.hstack([itself, others[:, :5]]), 1.0),
            (np.hstack([itself, others[:, :4], others[:, -1:]]), 0.8),
            (np.hstack([others[:, :5], itself]), 1.0),
        ):
            job = {"name": "made", "folder": str(tmp_path / f"{expected}{hits[0, 0]}"), "hits": hits.tolist()}
            process = search._Process([sys.executable, "-c", WORKER], job, [16])
            try:
                process.build()
                process.find(workload, 16)
            finally:
                process.close()
            assert process.missing == "" and process.recalls[16] == pytest.approx([expected] * 30)
