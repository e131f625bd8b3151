"""What every command line shares: the version, typing errors, exit codes, and output that is not cut."""

import importlib
import logging
import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import pytest
import typer
from rich.table import Table

from cbir import terminal
from cbir.errors import DiskFullError, UsageError
from tests.support.running import PROGRAMS, run_here


def main_of(program: str) -> Callable[[], None]:
    """Return the function that an installed program calls."""
    module, _, function = PROGRAMS[program].partition(":")
    main: Callable[[], None] = getattr(importlib.import_module(module), function)
    return main


def example(fails: BaseException | None = None) -> Callable[[], None]:
    """Return a program whose default command `add` needs a source, and whose folder of commands `show` needs none."""
    app = terminal.new_app("An example.", default="add")
    show = terminal.new_app("Show what there is.", default="list")
    app.add_typer(show, name="show")

    @app.command()
    def add(source: str, limit: Annotated[int, typer.Option(min=1)] = 1) -> None:
        if fails:
            raise fails
        typer.echo(f"added {source} {limit}")

    @show.command("list")
    def list_() -> None:
        typer.echo("listed")

    @show.command()
    def other() -> None:
        typer.echo("other")

    return lambda: terminal.run(app)


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_prints_its_version(program: str) -> None:
    for words in (["--version"], ["--insecure", "--version"]):
        done = run_here(main_of(program), program, *words)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{program} {version('cbir')}\n", "")


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_help_names_the_shared_options_and_the_exit_codes(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = run_here(main_of(program), program, "--help").stdout
    assert all(text in shown for text in ("--version", "--insecure", terminal.EXIT_CODES))


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (["./photos"], "added ./photos 1"),
        (["--limit", "3", "s3://photos"], "added s3://photos 3"),
        (["add", "photos"], "added photos 1"),
        (["existing"], "added existing 1"),
        (["-"], "added - 1"),
        (["https://example.test/a"], "added https://example.test/a 1"),
        (["show"], "listed"),
        (["show", "other"], "other"),
    ],
)
def test_the_default_command_is_used_where_none_is_named(words: list[str], output: str) -> None:
    Path("existing").mkdir()
    done = run_here(example(), "example", *words)
    assert (done.returncode, done.stdout) == (0, f"{output}\n"), done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["shwo"], "'shwo' is neither a command nor an existing file or folder. Did you mean 'show'?"),
        (["instal", "./x"], "'instal' is neither a command nor an existing file or folder. The commands are add, show"),
        (["show", "lits"], "Did you mean 'list'?"),
        (["./photos", "--limti", "3"], "No such option: --limti"),
        (["./photos", "--limit", "0"], "Invalid value for '--limit'"),
    ],
)
def test_a_typing_error_is_one_line_and_exit_code_2(words: list[str], message: str) -> None:
    done = run_here(example(), "example", *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("error: ")
    assert message in done.stderr


def test_a_program_without_arguments_shows_its_help_and_exits_with_2() -> None:
    done = run_here(example(), "example")
    assert done.returncode == 2
    assert "Usage" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UsageError("two\nlines"), 2, "error: two lines\n"),
        (DiskFullError("no room"), 3, "error: no room\n"),
        (FileNotFoundError(2, "No such file", "a.txt"), 1, "error: a.txt: No such file\n"),
        (EOFError(), 1, "\nerror: a helper process was ended from outside. Run the same command again.\n"),
    ],
)
def test_an_error_is_one_line_and_its_exit_code(error: Exception, code: int, message: str) -> None:
    done = run_here(example(error), "example", "./photos")
    assert (done.returncode, done.stderr) == (code, message)


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_here(example(ZeroDivisionError()), "example", "./photos")


def test_insecure_is_taken_anywhere_and_handed_to_other_processes() -> None:
    seen: list[str | None] = []

    def main() -> None:
        try:
            example()()
        finally:
            seen.append(os.environ.get("CBIR_INSECURE"))

    done = run_here(main, "example", "./photos", "--insecure")
    assert (done.returncode, done.stdout, seen) == (0, "added ./photos 1\n", ["1"])


def test_an_unknown_log_level_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "loud")
    done = run_here(example(), "example", "./photos")
    assert (done.returncode, done.stderr) == (
        2,
        "error: LOG_LEVEL in the environment is 'LOUD'. Use DEBUG, INFO, WARNING or ERROR.\n",
    )


def test_nothing_is_cut_or_interpreted_where_the_output_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    long = "/".join(["a folder"] * 40)
    table = Table("key", "note", box=None, pad_edge=False)
    table.add_row(long, "[red]:smile:")
    terminal.console().print(table)
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()][1:] == [f"{long}  [red]:smile:"]


def test_progress_is_a_line_in_the_log_where_there_is_no_terminal(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "cbir"), terminal.progress("embedding", 10, done=4, every=0) as advance:
        advance(3)
    (line,) = caplog.messages
    assert line.startswith("embedding: 7 of 10 images, ")
    assert line.endswith(" s left")
