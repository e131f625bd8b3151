"""Results on a console: the tables and notes of a section, drawn by rich."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable

from cbir import terminal
from cbir.evaluation.sections import Section as NewSection
from cbir.settings import Settings
from cbir.tables import to_rich

from .document import Result, Section, Table
from .options import STDOUT
from .results import deliver

_FIGURE = re.compile(r"[-+±·]?[\d.,]+\b.*|-?")


def finish(
    target: str | None, result: dict[str, Any], section_of: Callable[[Result], Section], more: Iterable[str] = ()
) -> None:
    """Deliver a result and, unless its JSON goes to the standard output, print its stores, tables and notes."""
    deliver(target, result, Settings())
    if target == STDOUT:
        return
    section = section_of(result)
    console = terminal.console()
    if "stores" in result:
        model = result["model"]
        console.print(f"{result['collection']}: {result['counts']['points']:,} points, {model['dimension']} dimensions")
        if model["random_weights"]:
            console.print(f"WARNING: the model {model['name']} has random weights; its neighbours mean nothing.")
        rows = [[one["store"], one["searched"]] for one in result["stores"]]
        print_table(console, Table("", ["store", "ordinary search"], rows))
    console.print(section.question)
    for part in section.parts:
        if isinstance(part, Table):
            print_table(console, part)
    for note in (*section.notes, *more):
        console.print(note)


def print_table(console: Console, table: Table) -> None:
    """Print the columns of a table that a console has room for; figures stand on the right."""
    shown = [at for at, name in enumerate(table.columns) if table.console is None or name in table.console]
    if not shown:
        return
    if table.title:
        console.print(table.title, style="bold")
    drawn = RichTable(box=SIMPLE_HEAD, collapse_padding=True)
    for at in shown:
        figures = at > 0 and all(_FIGURE.fullmatch(row[at]) for row in table.rows)
        drawn.add_column(table.columns[at], justify="right" if figures else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*(row[at] for at in shown))
    console.print(drawn)


def print_section(section: NewSection) -> None:
    """Print a section: verdicts, what was measured, tables, notes."""
    console = terminal.console()
    for verdict in section.verdicts:
        console.print(verdict, style="bold")
    console.print(section.subject)
    for table in section.tables:
        console.print(to_rich(table))
    for note in section.notes:
        console.print(note)
