"""The command line of `cbir-bench growth`."""

import json
import sys
from pathlib import Path

import pytest
from cbir.bench.growth import measure
from cbir.bench.growth.measure import GrowthOptions, Measured
from cbir.bench.growth.result import SUBJECT
from cbir.bench.growth.workplace import Workplace

from cbir import terminal
from tests.support.running import Program, refused

SMALL = ("--points", 1200, "--dimension", 32, "--images", 10, "--repeats", 1, "--commits", 2, "--queries", 10)


def test_one_case_of_one_engine(run: Program, tmp_path: Path) -> None:
    options = (*SMALL, "--engine", "faiss?index=Flat", "--case", "api", "--json", tmp_path / "growth.json")
    code, out, err = run(*options)
    assert (code, "random weights" in err) == (0, False), err
    assert out.startswith("1,200 x 32, photos.add and search: 10 images: ")
    result = SUBJECT.load(json.loads((tmp_path / "growth.json").read_text()))
    assert (len(result.changes), result.pauses, result.failed) == (1, [], {})
    assert (result.engines, result.points, result.dimension) == (["faiss?index=Flat"], 1200, 32)


def test_what_was_measured_before_an_interrupt_is_shown_but_not_kept(
    run: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(place: Workplace, options: GrowthOptions, found: Measured) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(measure, "CASES", {**measure.CASES, "search": interrupt})
    monkeypatch.setattr(terminal, "leave", sys.exit)
    monkeypatch.setenv("CBIR_REPORTS", str(tmp_path))
    kept = tmp_path / "growth.json"
    kept.write_text("of a complete run")
    cases = ("--case", "api", "--case", "search", "--case", "pause")
    code, out, _ = run(*SMALL, "--engine", "faiss?index=Flat", *cases)
    assert (code, "photos.add and search" in out, "the rest: failed: interrupted" in out) == (130, True, True)
    assert kept.read_text() == "of a complete run"


@pytest.mark.bench
def test_both_engines_and_a_large_collection(run: Program) -> None:
    code, out, err = run(*SMALL, "--large-points", 3000, "--large-dimension", 64)
    assert (code, "failed" in out) == (0, False), err
    for text in ("1,200 x 32, photos.add and search", "3,000 x 64, photos.add and search", "20 random changes, faiss"):
        assert text in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--case", "all"], "Unknown --case all. Use api, command, search, pause, first-ingest, commits."),
        (["--points", "10"], "--points"),
        (["--engine", "milvus", "--points", "1000"], "unknown store"),
        (["--engine", "faiss?index=Nonsense", "--points", "1000"], "FAISS knows no index"),
        (["--first-ingest", "it's", "--points", "1000"], """Invalid --first-ingest "it's": No closing quotation."""),
        (["--json", "./no/folder/file"], "name a file in a folder"),
    ],
)
def test_misuse_is_one_line(arguments: list[str], message: str, run: Program) -> None:
    assert message in refused(run, arguments)
