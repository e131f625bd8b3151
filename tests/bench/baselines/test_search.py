"""Stores and libraries at the same recall: real libraries, each in a process of its own."""

import json
from pathlib import Path

import pytest
from cbir.bench.baselines import search
from cbir.bench.baselines.result import SUBJECT

from tests.support.building import store_options
from tests.support.running import Program

pytestmark = pytest.mark.bench
BASE_INSTALL = ["faiss", "qdrant-edge", "qdrant-client", "numpy"]
"""What the base install has."""


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
        assert 0 < step["median_ms"]["lowest"] <= step["median_ms"]["median"] <= step["median_ms"]["highest"]
        assert step["search_ms"]["samples"] == 60
        earlier = candidate["curve"][: candidate["curve"].index(step)]
        assert all(step["recall"] < 0.99 for step in earlier), "the first that reaches it"
    assert found["numpy"]["curve"][0]["recall"] == found["qdrant-client"]["curve"][0]["recall"] == 1
    assert len(found["cbir faiss"]["curve"]) == len(found["faiss"]["curve"]) == len(search.EFS)
    assert [step["recall"] for step in found["cbir faiss"]["curve"]] == pytest.approx(
        [step["recall"] for step in found["faiss"]["curve"]], abs=0.03
    ), "the same graph at the same ef"
    assert result["embedding"] == [] and result["versions"]["qdrant-client"]
    assert out.count(", the fastest library, at recall 0.99.") == 2
    assert SUBJECT.dump(SUBJECT.load(result)) == result
