"""The command line of the bench as a whole."""

import pytest
from cbir.bench.command import RENAMED

from tests.support.running import Program

OPTIONS = {"--effort": "latency", "--pictures": "parity", "--beside": "latency", "--peer": "ingest"}


@pytest.mark.parametrize("old", [name for name in RENAMED if not name.startswith("-")])
def test_an_old_command_is_the_new_one(run: Program, old: str) -> None:
    code, out, _ = run(old, "--help")
    assert (code, f"cbir-bench {RENAMED[old]}" in out) == (0, True)
    assert f"│ {old} " not in run("--help")[1], "it is hidden"


@pytest.mark.parametrize(("option", "command"), OPTIONS.items())
def test_an_old_option_is_accepted_and_hidden(run: Program, option: str, command: str) -> None:
    out = run(command, "--help")[1]
    assert RENAMED[option] in out
    assert f"{option} " not in out
    assert run(command, option, "value", "--help")[0] == 0


def test_an_unknown_option_is_one_line(run: Program) -> None:
    code, _, err = run("latency", "--unknown")
    assert (code, err.count("\n")) == (2, 1)
