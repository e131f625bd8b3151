"""What changed from one report to another by more than chance, from the tables of both."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from cbir.evaluation.result_files import Report
from cbir.tables import Better, Cell, Column, Range, Table

Verdict = Literal["better", "worse", "the same", "within noise"]
VERDICTS: tuple[Verdict, ...] = ("worse", "better", "within noise", "the same")

COLUMNS = (
    Column("what"),
    Column("before"),
    Column("after"),
    Column("change", format="+.1%"),
    Column("verdict"),
)


@dataclass(frozen=True)
class Measurement:
    """One number of a report, with the bounds that chance gives it, and as its table shows it.

    `name` has the subject, the table, the row and the column; it is the same in every run.
    """

    name: str
    range: Range
    text: str
    better: Better


@dataclass(frozen=True)
class Change:
    """One number in both reports; `relative` is the change by the first value, None where that is 0."""

    before: Measurement
    after: Measurement
    relative: float | None
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """All numbers of two reports: those that both have, by name, and the names that only one has."""

    changes: list[Change]
    only_before: list[str]
    only_after: list[str]


def measurements(reports: Sequence[Report]) -> Iterator[Measurement]:
    """Yield each number of each table whose column says which direction is better."""
    for report in reports:
        for table in report.section.tables if report.section else ():
            for row in table.rows:
                for column, cell in zip(table.columns, row, strict=True):
                    found = _range(cell)
                    if column.better and found:
                        words = [report.kind, table.title, str(row[0]), column.header]
                        name = " / ".join(word for word in words if word)
                        yield Measurement(name, found, f"{column.text(cell)} {column.unit}".rstrip(), column.better)


def compare(before: Sequence[Report], after: Sequence[Report]) -> Comparison:
    """Compare two reports, number by number.

    A change counts if the two ranges do not overlap: the rounds of a time, or the 95 % interval of a mean. This is
    stricter than a test of the difference, so a small change may go unseen.
    """
    first, second = ({found.name: found for found in measurements(reports)} for reports in (before, after))
    changes = [_change(first[name], second[name]) for name in first if name in second]
    return Comparison(
        changes, [name for name in first if name not in second], [name for name in second if name not in first]
    )


def summary(found: Comparison) -> str:
    """Return how many numbers changed in each direction, as a sentence."""
    counts = Counter(change.verdict for change in found.changes)
    total = f"{len(found.changes):,} numbers"
    if not counts["worse"] and not counts["better"]:
        return f"Nothing changed beyond noise, of {total}."
    return f"{counts['worse']:,} worse and {counts['better']:,} better, of {total}."


def as_table(found: Comparison, every: bool) -> Table:
    """Return what changed beyond noise, the worse first, or `every` number."""
    shown = [change for change in found.changes if every or change.verdict in ("worse", "better")]
    shown.sort(key=lambda change: (VERDICTS.index(change.verdict), -abs(change.relative or 0)))
    rows = [
        [change.before.name, change.before.text, change.after.text, change.relative, change.verdict] for change in shown
    ]
    return Table("", COLUMNS, rows)


def _range(cell: Cell) -> Range | None:
    if isinstance(cell, Range):
        return cell
    return Range(cell, cell, cell) if isinstance(cell, int | float) else None


def _change(before: Measurement, after: Measurement) -> Change:
    old, new = before.range, after.range
    relative = (new.value - old.value) / abs(old.value) if old.value else None
    if old.value == new.value:
        verdict: Verdict = "the same"
    elif old.low <= new.high and new.low <= old.high:
        verdict = "within noise"
    else:
        verdict = "better" if (new.value > old.value) == (after.better == "higher") else "worse"
    return Change(before, after, relative, verdict)
