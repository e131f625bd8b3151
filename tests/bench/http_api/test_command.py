"""`cbir-bench http` as a command line: with real images, and in a store that has none."""

import json
from pathlib import Path

import pytest

from tests.support.running import Program

FAST = ("--rounds", 1, "--seconds", 0.2, "--queries", 20, "--clients", 3)


@pytest.mark.slow
def test_every_case_is_measured(index: Path, tmp_path: Path, run: Program) -> None:
    code, out, err = run("http", "--store", f"faiss:{index}/faiss", *FAST, "--json", tmp_path / "out.json")
    assert code == 0, err
    result = json.loads((tmp_path / "out.json").read_text())
    assert [(case["name"], case["clients"]) for case in result["cases"]] == [
        ("vector, the store's own call", 1),
        ("vector, a bare route", 1),
        ("vector, cbir-serve", 1),
        ("vector, a bare route", 3),
        ("vector, cbir-serve", 3),
        ("image, in Python", 1),
        ("image, cbir-serve", 1),
        ("image, cbir-serve", 3),
    ]
    assert all(case["failed"] == 0 and case["per_second"]["value"] > 0 for case in result["cases"])
    assert "cbir-serve is ready after" in out
    assert "3 clients get" in out


def test_a_store_that_is_not_there_is_one_line(tmp_path: Path, run: Program) -> None:
    code, _, err = run("http", "--store", f"faiss:{tmp_path}/none", *FAST)
    assert code == 2
    assert len(err.splitlines()) == 1
