"""The report of an ingest run, as people read it."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from cbir.pipeline.report import IngestReport
from cbir.text import printable

_SHOWN = 20


def show(report: IngestReport, notes: Sequence[str]) -> None:
    """Print what was read, stored, removed and skipped, how fast, and where the time went."""
    console = Console(highlight=False, soft_wrap=True)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("collection", report.collection)
    table.add_row("stores", ", ".join(report.stores))
    table.add_row("read", f"{report.read:,}")
    table.add_row("stored", f"{report.stored:,}" + (f", {report.changed:,} of them changed" if report.changed else ""))
    table.add_row("unchanged", f"{report.unchanged:,}")
    if report.removed:
        table.add_row("removed", f"{report.removed:,}")
    if report.duplicates:
        table.add_row("copies", f"{report.duplicates:,} of other images")
    remembered = f", {report.remembered:,} as before and not tried again" if report.remembered else ""
    table.add_row("skipped", f"{report.skipped:,}{remembered}")
    table.add_row(
        "images/s",
        f"{report.images_per_second:,.1f} ({report.workers} workers, {report.threads} model threads each, batches of"
        f" {report.batch_size}, on {report.provider})",
    )
    table.add_row("seconds", ", ".join(f"{stage} {spent:,.1f}" for stage, spent in report.seconds.items()))
    peak = report.peak_megabytes
    table.add_row("peak memory", f"{peak['ingest']:,} MB embedding, {peak['build']:,} MB building")
    console.print(table)
    for reason, count in report.reasons.items():
        console.print(f"skipped {count:,}: {printable(reason)}", markup=False)
    _show_some(console, [f"{one['key']}: {one['reason']}" for one in report.failures])
    _show_some(console, [f"removed {key}" for key in report.removed_keys])
    for note in notes:
        console.print(note, markup=False)
    if report.remembered:
        console.print("--retry-failed tries again what failed before")
    if report.missing > report.removed:
        console.print(
            f"{report.missing - report.removed:,} stored images are not in the source any more, and are still found;"
            " `cbir-ingest sync` removes such"
        )
    if report.interrupted:
        console.print(
            f"interrupted: {report.resumed + report.stored:,} embedded images wait to be published; nothing is lost,"
            " the same command finishes the rest"
        )


def _show_some(console: Console, lines: Sequence[str]) -> None:
    for line in lines[:_SHOWN]:
        console.print(f"  {printable(line)}", markup=False)
    if len(lines) > _SHOWN:
        console.print(f"  and {len(lines) - _SHOWN:,} more; --json names all")
