"""The summary of an ingest run, for people."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from cbir.terminal import printable

from .run import Summary

_SHOWN = 20


def show(summary: Summary, notes: Sequence[str]) -> None:
    """Print what was read, stored and skipped, how fast, and where the time went."""
    console = Console(highlight=False, soft_wrap=True)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("collection", summary.collection)
    table.add_row("stores", ", ".join(summary.stores))
    table.add_row("read", f"{summary.read:,}")
    table.add_row("stored", f"{summary.stored:,}")
    table.add_row("unchanged", f"{summary.unchanged:,}")
    table.add_row("skipped", f"{summary.skipped:,}")
    table.add_row(
        "images/s",
        f"{summary.images_per_second:,.1f} ({summary.workers} workers, batches of {summary.batch_size},"
        f" on {summary.provider})",
    )
    table.add_row("seconds", ", ".join(f"{stage} {spent:,.1f}" for stage, spent in summary.seconds.items()))
    peak = summary.peak_megabytes
    table.add_row("peak memory", f"{peak['ingest']:,} MB embedding, {peak['build']:,} MB building")
    console.print(table)
    for reason, count in summary.reasons.items():
        console.print(f"skipped {count:,}: {reason}", markup=False)
    for skip in summary.failures[:_SHOWN]:
        console.print(f"  {printable(skip['key'])}: {printable(skip['reason'])}", markup=False)
    if len(summary.failures) > _SHOWN:
        console.print(f"  and {len(summary.failures) - _SHOWN:,} more; --json names all")
    for note in notes:
        console.print(note, markup=False)
    if summary.gone:
        console.print(f"{summary.gone:,} stored images are not in the source any more, and are still found")
    if summary.interrupted:
        console.print(
            f"interrupted: {summary.resumed + summary.stored:,} embedded images wait to be published; nothing is lost,"
            " the same command finishes the rest"
        )
