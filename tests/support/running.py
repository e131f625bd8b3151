"""A command line run in this process, or in one of its own."""

import io
import logging
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import pytest

_PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]

PROGRAMS: dict[str, str] = _PROJECT["scripts"]
"""The project's programs with the function that each calls, as `module:function`."""

Program = Callable[..., tuple[int, str, str]]
"""Called with arguments; returns exit code, standard output and standard error."""


def runner(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], main: Callable[[], None], *words: str
) -> Program:
    """Return what runs `main` as a command of these words and the arguments."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [*words, *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return (int(ended.value.code or 0), *capsys.readouterr())

    return run


def run_here(main: Callable[[], None], *words: object) -> "subprocess.CompletedProcess[str]":
    """Run `main` as a command of these words, with what it logs, as `subprocess.run` would in another."""
    command, out, err = list(map(str, words)), io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", command),
        patch.dict(os.environ),
        redirect_stdout(out),
        redirect_stderr(err),
        _logging_unset(),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    return subprocess.CompletedProcess(command, int(ended.value.code or 0), out.getvalue(), err.getvalue())


def run_program(program: str, *words: object) -> str:
    """Run a program of the project in a process of its own; return its standard output."""
    module, _, main = PROGRAMS[program].partition(":")
    code = f"import sys, {module}; sys.argv[0] = {program!r}; {module}.{main}()"
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def _logging_unset() -> Iterator[None]:
    """Let a command set up its logging as at the start of a process: pytest has put handlers of its own there."""
    root, ours = logging.getLogger(), logging.getLogger("cbir")
    before = root.level, ours.level
    with patch.object(root, "handlers", []):
        yield
    root.setLevel(before[0])
    ours.setLevel(before[1])


def refused(run: Program, arguments: Sequence[str]) -> str:
    """Return the one line of a command that is refused with exit code 2."""
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    (line,) = [line for line in err.splitlines() if line.startswith("error")]
    return line
