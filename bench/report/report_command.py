"""`cbir-bench report` and `cbir-bench compare`: what was measured as one document, and what changed between two."""

from pathlib import Path
from typing import Annotated

import typer

from cbir import terminal
from cbir.errors import UsageError

from ..core.options import STDOUT, Json


def report(
    folder: Annotated[Path, typer.Argument(help="Folder to write report.html, report.md and report.json into.")],
    source: Annotated[
        list[Path] | None,
        typer.Option("--from", help="Folder of kept results; may be given several times.", show_default="CBIR_REPORTS"),
    ] = None,
    title: Annotated[str, typer.Option(help="Title of the report.")] = "cbir: what was measured",
) -> None:
    """Write the latest result of each benchmark as one report: HTML with everything in it, Markdown, and JSON."""
    from cbir.settings import Settings

    from .report_writer import collect, write

    results = collect(source or [Settings().reports])
    for path in write(folder, title, results):
        typer.echo(str(path))


def compare(
    before: Annotated[Path, typer.Argument(help="A report.json, or what --json wrote.")],
    after: Annotated[Path, typer.Argument(help="Another one.")],
    every: Annotated[bool, typer.Option("--all", help="Show what did not change, too.")] = False,
    as_json: Json = None,
) -> None:
    """Show what changed from one report to another by more than noise."""
    from dataclasses import asdict

    from cbir.tables import to_rich

    from ..core.subject import write_json
    from .comparison import as_table, read_results, summary
    from .comparison import compare as changes

    found = changes(read_results(before), read_results(after))
    if not found.changes:
        raise UsageError(f"{before} and {after} have no number in common, so there is nothing to compare.")
    if as_json:
        write_json(as_json, {"before": str(before), "after": str(after), **asdict(found)})
    if as_json != STDOUT:
        console = terminal.console()
        console.print(summary(found), style="bold")
        table = as_table(found, every)
        if table.rows:
            console.print(to_rich(table))
        console.print(
            "A number has changed if its two ranges (the rounds of a time, 95 % of a mean) do not overlap. Of a hundred"
            " numbers, chance may still move one or two. Of a number without a range (a recall, a single run), nothing"
            " says how much chance moves it."
        )
        for names, file in ((found.only_before, before), (found.only_after, after)):
            if names:
                console.print(f"Only in {file}: {len(names):,} numbers, such as {names[0]}.")
