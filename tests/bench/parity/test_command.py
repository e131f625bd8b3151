"""`cbir-bench parity` as a command line."""

import json
from pathlib import Path

import pytest

from tests.support.bench_stores import COUNT
from tests.support.building import both, store_options
from tests.support.running import Program


def test_tables_and_json(made: Path, tmp_path: Path, run: Program) -> None:
    target = tmp_path / "parity.json"
    urls = store_options(both(made))
    code, out, err = run("parity", *urls, "--queries", 30, "-k", 5, "--json", target)
    assert (code, err) == (0, "")
    assert out.startswith("The stores agree: 30 of 30 queries have the same hits.")
    assert "Against the exact answer" in out
    assert "Store against store" in out
    assert f"WARNING: {both(made)[0]} scans in its ordinary mode" in " ".join(out.split())
    assert [path.name for path in tmp_path.iterdir()] == ["parity.json"], "nothing is left beside it"
    result = json.loads(target.read_text())
    assert [result[name] for name in ("k", "queries", "seed", "points", "images")] == [5, 30, 42, COUNT, []]
    assert "2 points are exact copies of another" in result["notes"][1]
    assert {"cbir", "qdrant-edge-py", "qdrant-client", "faiss-cpu", "numpy"} <= set(result["versions"])
    recalls = [(part["mode"], part["ann_recall_at_k"]["mean"]) for part in result["against_truth"]]
    assert recalls[1::2] == [("exact", 1.0)] * 2
    assert result["against_truth"][2]["searched"] == "graph (600 of 600 points indexed, ef=128)"
    assert [pair["mode"] for pair in result["pairs"]] == ["ordinary", "exact"]
    code, out, _ = run("parity", *urls, "--queries", 30, "-k", 5, "--json", "-")
    again = json.loads(out)
    assert {**again, "created": ""} == {**result, "created": ""}, "the same seed gives the same numbers"


def test_one_store_alone(made: Path, run: Program) -> None:
    code, out, _ = run("parity", "--store", both(made)[1], "--queries", 10)
    assert (code, "Store against store" in out) == (0, False)


def test_a_minimum_of_the_recall(made: Path, run: Program) -> None:
    lists = f"faiss:{made}/lists?nprobe=1"
    assert run("parity", "--store", both(made)[0], "--queries", 20, "--min-recall", 1)[0] == 0
    code, out, err = run("parity", "--store", lists, "--queries", 50, "--min-recall", 0.95)
    assert (code, "Against the exact answer" in out) == (1, True)
    error = err.splitlines()[-1]
    assert error.startswith(f"error: {lists}: ann_recall_at_10 is 0.")
    assert error.endswith("below 0.95")


@pytest.mark.parametrize("option", ["--images", "--pictures"])
def test_thumbnails_that_are_no_images_are_left_out(made: Path, tmp_path: Path, run: Program, option: str) -> None:
    urls = store_options([f"faiss:{made}/lists?nprobe=1", both(made)[0]])
    assert run("parity", *urls, "--queries", 20, option, "--json", tmp_path / "p.json")[0] == 0
    strips = json.loads((tmp_path / "p.json").read_text())["images"]
    assert len(strips) == 6
    assert {image["data"] for strip in strips for image in strip["images"]} == {None}


def test_the_help_names_the_defaults(run: Program) -> None:
    words = " ".join(run("parity", "--help")[1].replace("│", " ").split())
    assert "$CBIR_STORES, or ./index" in words
    assert "the newest that all the stores have" in words
    assert "--pictures" not in words
