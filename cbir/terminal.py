"""What every command line shares: errors, exit codes, the console, progress and the options of every command."""

import difflib
import json
import logging
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
import typer.core
from typer.main import get_command

from cbir.errors import CbirError, UsageError
from cbir.progress import Advance
from cbir.text import one_line

if TYPE_CHECKING:
    from rich.console import Console

log = logging.getLogger(__name__)

EXIT_CODES = "Exit codes: 0 success, 1 failure, 2 wrong use (nothing changed), 3 disk full, 130 interrupted."

_INSECURE = "--insecure"
_INTERRUPTED = 130
_WIDEST = 1_000_000
_WORD = re.compile(r"[a-z]+(-[a-z]+)*")


def new_app(help_text: str, default: str | None = None) -> typer.Typer:
    """Return a Typer application that shows its help without arguments, and the traceback of a bug.

    The command `default` is meant if the first argument is not a command's name.
    """

    class Group(typer.core.TyperGroup):
        def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
            if default:
                args = _with_default(self.commands, default, args)
            return super().parse_args(ctx, args)

        def format_help(self, ctx: Any, formatter: Any) -> None:
            super().format_help(ctx, formatter)
            if default:
                command = self.commands[default]
                command.format_help(command.make_context(default, [], ctx, resilient_parsing=True), formatter)

    return typer.Typer(
        cls=Group,
        help=help_text,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def _with_default(commands: Mapping[str, Any], default: str, args: list[str]) -> list[str]:
    """Return the arguments with the default command's name in front, unless they name a command or need none."""
    if not args:
        return [] if any(parameter.required for parameter in commands[default].params) else [default]
    first = args[0]
    if first in commands or first in ("-h", "--help", "--version"):
        return args
    if _WORD.fullmatch(first) and not Path(first).exists():
        similar = difflib.get_close_matches(first, commands, 1)
        hint = f"Did you mean {similar[0]!r}?" if similar else f"The commands are {', '.join(commands)}."
        raise UsageError(f"{first!r} is neither a command nor an existing file or folder. {hint}")
    return [default, *args]


def run(app: typer.Typer, renamed: Mapping[str, str] = MappingProxyType({})) -> None:
    """Run `app`. A misuse or failure ends in one line on standard error and its exit code.

    `renamed` has the new names of commands and options by their old ones, which are still accepted but not shown.
    """
    try:
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC would log lost connections between our own lines
        if _INSECURE in sys.argv[1:]:  # with any command, and for the processes that it starts
            sys.argv.remove(_INSECURE)
            os.environ["CBIR_INSECURE"] = "1"
        _set_log_level(os.environ.get("LOG_LEVEL", "").upper())
        command: Any = get_command(app)
        command.params += get_command(_shared).params
        command.epilog = EXIT_CODES
        code = command(with_new_names(sys.argv[1:], renamed), standalone_mode=False) or 0
        if code == _INTERRUPTED:  # Typer's exit code for Ctrl-C
            raise KeyboardInterrupt
        sys.exit(code)
    except CbirError as error:
        _end(one_line(error), error.exit_code)
    except _NoArguments as error:
        error.show()
        sys.exit(error.exit_code)
    except _WrongCall as error:
        _end(f"{' '.join(error.format_message().split())} (see --help)", error.exit_code)
    except (typer.Abort, KeyboardInterrupt) as error:
        if isinstance(error.__cause__, EOFError):  # Typer turns every end of a connection into an abort
            _end("a helper process was ended from outside. Run the same command again.", 1)
        typer.echo("error: interrupted", err=True)
        leave(_INTERRUPTED)
    except OSError as error:
        _end(f"{error.filename or 'the output'}: {error.strerror or error}", 1)


def with_new_names(words: list[str], renamed: Mapping[str, str]) -> list[str]:
    """Return the words with an old command in front and old options (`--peer`, `--peer=torch`) replaced."""
    found = [renamed.get(word, word) for word in words[:1]] + words[1:]
    for i, word in enumerate(found):
        name, equals, value = word.partition("=")
        if word.startswith("--"):
            found[i] = renamed.get(name, name) + equals + value
    return found


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"{Path(sys.argv[0]).name} {version('cbir')}")
        raise typer.Exit


_shared = typer.Typer(add_completion=False)


@_shared.command()
def _shared_options(  # of every program
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, expose_value=False, callback=_print_version, help="Print the version and exit."
        ),
    ] = False,
    insecure: Annotated[
        bool,
        typer.Option(
            _INSECURE,
            expose_value=False,
            help="With any command: connect to a Qdrant server on another machine without TLS or API key.",
        ),
    ] = False,
) -> None: ...


# Typer raises several kinds of errors for a wrong call, and exports only one of them.
_WrongCall: Any = typer.BadParameter.__mro__[1]
_NoArguments: Any = next(kind for kind in _WrongCall.__subclasses__() if kind.__name__ == "NoArgsIsHelpError")


def _set_log_level(level: str) -> None:
    if level and level not in logging.getLevelNamesMapping():
        raise UsageError(f"LOG_LEVEL in the environment is {level!r}. Use DEBUG, INFO, WARNING or ERROR.")
    logging.basicConfig(level=level or "WARNING", format="%(message)s")
    logging.getLogger("cbir").setLevel(level or "INFO")


def _end(message: str, exit_code: int) -> None:
    typer.echo(f"error: {message}", err=True)
    sys.exit(exit_code)


def console() -> "Console":
    """Return the console for results. Text is printed as it is, and nothing is cut where the output is no terminal."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _WIDEST
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True, width=width)


def print_json(value: object) -> None:
    """Print a value as one line of JSON on standard output."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def leave(exit_code: int) -> NoReturn:
    """End the process at once, without waiting for its threads. Everything important is already stored."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


@contextmanager
def progress(
    description: str, total: int | None, unit: str = "images", done: int = 0, every: float = 10.0
) -> Iterator[Advance]:
    """Show progress on standard error and yield the function that advances it.

    On a terminal this is a bar with count, rate and time left, elsewhere a log line every `every` seconds. `done` is
    the number of items that an earlier run did: they count for the total, but not for the rate.
    """
    from rich.console import Console

    console = Console(stderr=True)
    shown = _bar(console, description, total, unit, done)
    with shown if console.is_terminal else _lines(description, total, unit, every, done) as advance:
        yield advance


@contextmanager
def _bar(console: "Console", description: str, total: int | None, unit: str, done: int) -> Iterator[Advance]:
    from rich import progress
    from rich.text import Text

    class Rate(progress.ProgressColumn):
        def render(self, task: progress.Task) -> Text:
            return Text(f"{task.speed or 0:,.0f} {unit}/s")

    columns = (progress.BarColumn(), progress.MofNCompleteColumn(), Rate(), progress.TimeRemainingColumn())
    with progress.Progress("{task.description}", *columns, console=console, transient=True) as bar:
        task = bar.add_task(description, total=total, completed=done)
        yield lambda count: bar.advance(task, count)


@contextmanager
def _lines(description: str, total: int | None, unit: str, every: float, done: int) -> Iterator[Advance]:
    start = last = time.monotonic()
    before = done

    def advance(count: int) -> None:
        nonlocal done, last
        done += count
        now = time.monotonic()
        if now - last >= every:
            last = now
            rate = (done - before) / (now - start)
            left = f", {(total - done) / rate:,.0f} s left" if total and rate else ""
            goal = f"{total:,}" if total else "?"
            log.info("%s: %s of %s %s, %.0f/s%s", description, f"{done:,}", goal, unit, rate, left)

    yield advance
