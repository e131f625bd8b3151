"""`cbir-bench ingest`: misuse is named."""

import pytest

from tests.support.running import Program


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "either a SOURCE, or --photos N"),
        ([".", "--photos", 3], "either a SOURCE, or --photos N"),
        (["--photos", 3, "--limit", 2], "--photos generates its images"),
        ([".", "--baseline", "keras"], "--baseline keras. Choose from: fastembed, torch, sentence-transformers"),
        ([".", "--baseline", "torch", "--baseline-python", "nowhere"], "--baseline-python nowhere is not a program"),
        ([".", "--json", "nowhere/x.json"], "--json nowhere/x.json"),
        (["./nowhere"], "./nowhere does not exist"),
        (["sample://openmoji", "--model", "nothing"], "no model 'nothing'"),
    ],
)
def test_misuse_is_one_line(run: Program, arguments: list[object], said: str) -> None:
    code, out, err = run(*arguments)
    assert code == 2
    assert not out
    assert said in err
    assert len(err.splitlines()) == 1
