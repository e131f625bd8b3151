"""What changed from one report to another by more than chance, from the tables of both."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

import cbir
from cbir.errors import UsageError
from cbir.evaluation.result_files import Report
from cbir.tables import Cell, Column, Range, Table

from ..registry import SUBJECTS
from .report_writer import REPORT

_LARGEST = 256 * 2**20
Verdict = Literal["better", "worse", "differs", "within noise", "the same"]
VERDICTS: tuple[Verdict, ...] = ("worse", "better", "differs", "within noise", "the same")

COLUMNS = (
    Column("what"),
    Column("before"),
    Column("after"),
    Column("change", format="+.1%"),
    Column("verdict"),
)


@dataclass(frozen=True)
class Change:
    """One number in both reports; `relative` is the change by the first value, None where that is 0.

    `name` has the subject, the table, the row and the column; it is the same in every run.
    """

    name: str
    column: Column
    before: Range
    after: Range
    relative: float | None
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """All numbers of two reports: those that both have, and the names of those that only one has."""

    changes: list[Change]
    only_before: list[str]
    only_after: list[str]


def read_results(path: Path) -> list[Report]:
    """Return the results in a file: of a report, or the one that `--json` wrote; raise `UsageError` without any."""
    try:
        if path.stat().st_size > _LARGEST:
            raise UsageError(f"{path} is too large for a report of cbir-bench")
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is not JSON") from None
    if isinstance(content, dict) and content.get("benchmark") in SUBJECTS:
        subject = SUBJECTS[content["benchmark"]]
        section = subject.present(subject.load(content))
        return [Report(subject.name, datetime.now(UTC), cbir.__version__, "", {}, content, section)]
    try:
        return REPORT.validate_python(content).results
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise UsageError(f"{path} is not a report.json of `cbir-bench report`: {place}: {first['msg']}") from None


def measurements(reports: Sequence[Report]) -> dict[str, tuple[Column, Range]]:
    """Return by name each number of each table whose column says which direction is better."""
    found: dict[str, tuple[Column, Range]] = {}
    kinds = Counter[str]()
    for report in reports:
        kinds[report.kind] += 1
        subject = report.kind + (f" {kinds[report.kind]}" if kinds[report.kind] > 1 else "")
        for table in report.section.tables if report.section else ():
            for row in table.rows:
                for column, cell in zip(table.columns, row, strict=True):
                    if column.better and isinstance(cell, Range | int | float):
                        name = " / ".join(filter(None, [subject, table.title, str(row[0]), column.heading]))
                        found[name] = column, cell if isinstance(cell, Range) else Range(cell, cell, cell)
    return found


def compare(before: Sequence[Report], after: Sequence[Report]) -> Comparison:
    """Compare two reports, number by number.

    A change counts if the two ranges do not overlap: the rounds of a time, or the 95 % interval of a mean. This is
    stricter than a test of the difference, so a small change may go unseen. A number without a range only "differs",
    because nothing says how much of that is chance.
    """
    first, second = measurements(before), measurements(after)
    changes = [_change(name, *first[name], second[name][1]) for name in first if name in second]
    return Comparison(
        changes, [name for name in first if name not in second], [name for name in second if name not in first]
    )


def summary(found: Comparison) -> str:
    """Return how many numbers changed in each direction, as a sentence."""
    counts = Counter(change.verdict for change in found.changes)
    total = f"{len(found.changes):,} numbers"
    differ = f" {counts['differs']:,} without a range differ." if counts["differs"] else ""
    if not counts["worse"] and not counts["better"]:
        return f"Nothing changed beyond noise, of {total}.{differ}"
    return f"{counts['worse']:,} worse and {counts['better']:,} better, of {total}.{differ}"


def as_table(found: Comparison, every: bool) -> Table:
    """Return what changed beyond noise, the worse first, and what differs without a range, or `every` number."""
    shown = [change for change in found.changes if every or change.verdict in ("worse", "better", "differs")]
    shown.sort(key=lambda change: (VERDICTS.index(change.verdict), -abs(change.relative or 0)))
    rows: list[list[Cell]] = []
    for change in shown:
        texts = (f"{change.column.text(cell)} {change.column.unit}".rstrip() for cell in (change.before, change.after))
        rows.append([change.name, *texts, change.relative, change.verdict])
    return Table("", COLUMNS, rows)


def _change(name: str, column: Column, old: Range, new: Range) -> Change:
    relative = (new.value - old.value) / abs(old.value) if old.value else None
    if old.value == new.value:
        verdict: Verdict = "the same"
    elif old.low <= new.high and new.low <= old.high:
        verdict = "within noise"
    elif old.low == old.high or new.low == new.high:
        verdict = "differs"
    else:
        verdict = "better" if (new.value > old.value) == (column.better == "higher") else "worse"
    return Change(name, column, old, new, relative, verdict)
