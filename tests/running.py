"""A command line run in this process, or in one of its own."""

import io
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from unittest.mock import patch

import pytest

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


@contextmanager
def _logging_unset() -> Iterator[None]:
    """Let a command set up its logging as at the start of a process: pytest has put handlers of its own there."""
    root, ours = logging.getLogger(), logging.getLogger("cbir")
    before = root.level, ours.level
    with patch.object(root, "handlers", []):
        yield
    root.setLevel(before[0])
    ours.setLevel(before[1])
