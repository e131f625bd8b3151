"""A command line run in this process."""

import sys
from collections.abc import Callable

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
