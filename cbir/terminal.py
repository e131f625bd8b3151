"""What every command line shares: one place for errors, one console, one kind of progress."""

import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, NoReturn

import typer
import typer.core

from cbir.errors import CbirError, UsageError
from cbir.progress import Advance
from cbir.text import one_line

log = logging.getLogger(__name__)

_INSECURE = "--insecure"
_INTERRUPTED = 130


def new_app(
    help_text: str, default: str | None = None, renamed: Mapping[str, str] = MappingProxyType({})
) -> typer.Typer:
    """Return a Typer application that leaves bugs their traceback and shows help without arguments.

    Args:
        help_text: What the program does.
        default: The command meant where the first argument is no command's name.
        renamed: New names of commands and options by their old ones, which are still accepted but not shown.
    """

    class Group(typer.core.TyperGroup):
        def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
            args = [renamed.get(word, word) for word in args[:1]] + [_new_option(word, renamed) for word in args[1:]]
            if default and args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
                args.insert(0, default)
            return super().parse_args(ctx, args)

        def format_help(self, ctx: Any, formatter: Any) -> None:
            super().format_help(ctx, formatter)
            if default:
                command = self.commands[default]
                command.format_help(command.make_context(default, [], ctx, resilient_parsing=True), formatter)

    settings = {"help_option_names": ["-h", "--help"]}
    return typer.Typer(
        cls=Group,
        help=help_text,
        epilog=f"{_INSECURE}, with any command: speak to a Qdrant server on another machine without TLS or API key.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings=settings,
    )


def _new_option(word: str, renamed: Mapping[str, str]) -> str:
    """Return an option with its old name replaced, in `--effort=64` as well as in `--effort`."""
    name, equals, value = word.partition("=")
    return renamed.get(name, name) + equals + value if word.startswith("--") else word


def run(app: typer.Typer) -> None:
    """Run `app`; a mistake of the user's or a failure ends in one line on standard error and its exit code."""
    try:
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its lines about lost connections would stand among ours
        if _INSECURE in sys.argv[1:]:  # of every command, and of the processes that it starts
            sys.argv.remove(_INSECURE)
            os.environ["CBIR_INSECURE"] = "1"
        _set_log_level(os.environ.get("LOG_LEVEL", "").upper())
        code = app(standalone_mode=False) or 0
        if code == _INTERRUPTED:  # what Typer makes of Ctrl-C
            raise KeyboardInterrupt
        sys.exit(code)
    except CbirError as error:
        _end(one_line(error), error.exit_code)
    except _NoArguments as error:
        error.show()
        sys.exit(error.exit_code)
    except _WrongCall as error:
        _end(f"{' '.join(error.format_message().split())} (--help shows what there is)", error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        typer.echo("error: interrupted", err=True)
        leave(130)
    except OSError as error:
        _end(f"{error.filename or 'the output'}: {error.strerror or error}", 1)


# Typer's errors for a wrong call, of which it exports one kind alone.
_WrongCall: Any = typer.BadParameter.__mro__[1]
_NoArguments: Any = next(kind for kind in _WrongCall.__subclasses__() if kind.__name__ == "NoArgsIsHelpError")


def _set_log_level(level: str) -> None:
    if level and level not in logging.getLevelNamesMapping():
        raise UsageError(f"the environment's LOG_LEVEL: there is no {level}, but DEBUG, INFO, WARNING and ERROR")
    logging.basicConfig(level=level or "WARNING", format="%(message)s")
    logging.getLogger("cbir").setLevel(level or "INFO")


def _end(message: str, exit_code: int) -> None:
    typer.echo(f"error: {message}", err=True)
    sys.exit(exit_code)


def leave(exit_code: int) -> NoReturn:
    """End the process now, whatever its threads still wait for: what counts is written down."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


@contextmanager
def progress(
    description: str, total: int | None, unit: str = "images", done: int = 0, every: float = 10.0
) -> Iterator[Advance]:
    """Show progress on standard error and yield the function that advances it.

    On a terminal: a bar with count, rate and time left. Elsewhere: a log line every `every` seconds. `done` is where
    it starts: what an earlier run did counts for the whole, and not for the rate.
    """
    from rich.console import Console

    console = Console(stderr=True)
    with (
        _bar(console, description, total, unit, done)
        if console.is_terminal
        else _lines(description, total, unit, every, done) as advance
    ):
        yield advance


@contextmanager
def _bar(console: object, description: str, total: int | None, unit: str, done: int) -> Iterator[Advance]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed or 0:,.0f} {unit}/s")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:  # type: ignore[arg-type]
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
            log.info(
                "%s: %s of %s %s, %.0f/s%s",
                description,
                f"{done:,}",
                f"{total:,}" if total else "?",
                unit,
                rate,
                left,
            )

    yield advance
