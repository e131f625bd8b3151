"""The report of an ingest run, as text."""

from collections.abc import Sequence
from shlex import quote

from rich.table import Table

from cbir import terminal
from cbir.pipeline.report import IngestReport
from cbir.text import limited, printable

_SHOWN = 20


def show(report: IngestReport, notes: Sequence[str], stores: Sequence[str] = (), collection: str = "") -> None:
    """Print what was read, stored, removed and skipped, how fast it was, and what to do next.

    `stores` and `collection` are what the commands of the next step have to name.
    """
    console = terminal.console()
    console.print(_summary(report))
    for reason, count in report.reasons.items():
        console.print(f"skipped {count:,}: {printable(reason)}")
    _show_some([f"{failure['key']}: {failure['reason']}" for failure in report.failures])
    _show_some([f"renamed {rename['old_key']} to {rename['key']}" for rename in report.renames])
    _show_some([f"removed {key}" for key in report.removed_keys])
    for line in [*notes, *_hints(report), *_next_step(report, stores, collection)]:
        console.print(line)


def _summary(report: IngestReport) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    if report.dry_run:
        table.add_row("dry run", "nothing was changed; the counts are those of a real run")
    table.add_row("collection", report.collection)
    table.add_row("stores", ", ".join(report.stores))
    table.add_row("read", f"{report.read:,}")
    parts = ((report.changed, "changed"), (report.reused, "with the vector of a stored image"))
    of_them = [f"{count:,} of them {what}" for count, what in parts if count]
    table.add_row("stored", ", ".join([f"{report.stored:,}", *of_them]))
    table.add_row("unchanged", f"{report.unchanged:,}")
    if report.renamed:
        table.add_row("renamed", f"{report.renamed:,}")
    if report.removed:
        table.add_row("removed", f"{report.removed:,}")
    if report.duplicates:
        table.add_row("copies", f"{report.duplicates:,} of other images")
    remembered = f", {report.remembered:,} of them failed before" if report.remembered else ""
    table.add_row("skipped", f"{report.skipped:,}{remembered}")
    if report.other_files:
        table.add_row("other files", f"{report.other_files:,} with other suffixes skipped")
    table.add_row(
        "images/s",
        f"{report.images_per_second:,.1f} ({report.workers} workers, {report.threads} model threads each, batches of"
        f" {report.batch_size}, {report.precision} on {report.device})",
    )
    table.add_row("seconds", ", ".join(f"{stage} {spent:,.1f}" for stage, spent in report.seconds.items()))
    peak = report.peak_megabytes
    table.add_row("peak memory", f"{peak['ingest']:,} MB embedding, {peak['build']:,} MB building")
    return table


def _hints(report: IngestReport) -> list[str]:
    """Return what the user should know of images that failed, are missing, or wait to be published."""
    hints = []
    if report.remembered:
        hints.append("Images that failed before are not tried again. To try them again, add --retry-failed.")
    if missing := report.missing - report.removed:
        hints.append(f"stored, but no longer in the source: {missing:,} images. `cbir-ingest sync` removes them.")
    if report.interrupted and not report.dry_run:
        waiting = report.resumed + report.stored
        hints.append(f"interrupted: {waiting:,} embedded images are kept. Run the same command again to finish.")
    return hints


def _next_step(report: IngestReport, stores: Sequence[str], collection: str) -> list[str]:
    """Return commands that search the stored images, and can be pasted."""
    if report.dry_run or report.interrupted or not report.example_key:
        return []
    options = [f" --store {quote(url)}" for url in stores]
    named = f" --collection {quote(collection)}" if collection else ""
    search = f"cbir-search --like {quote(report.example_key)}{''.join(options[:1])}{named}"
    return ["Next:", f"  {printable(search)}", f"  cbir-ui{''.join(options)}"]


def _show_some(lines: Sequence[str]) -> None:
    console = terminal.console()
    for line in lines[:_SHOWN]:
        console.print(f"  {printable(limited(line))}")
    if len(lines) > _SHOWN:
        console.print(f"  and {len(lines) - _SHOWN:,} more. --json lists all.")
