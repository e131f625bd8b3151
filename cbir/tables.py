"""One description of a table, and what draws it: a console, Markdown and CSV here, Streamlit in the page."""

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.table import Table as RichTable

Better = Literal["higher", "lower"]
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True)
class Range:
    """A number with the bounds that chance gives it: the rounds of a time, or the 95 % interval of a mean."""

    value: float
    low: float
    high: float


Cell = str | int | float | Range | None


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        header: What it shows.
        unit: The unit of its numbers, "" for text and for shares.
        format: Python's format of its numbers, such as ".4f" or ",d"; "" for text.
        better: Which direction is better; None for what is no result, so that nothing is compared by it.
        detail: True if a console leaves it out.
        floor: True if numbers are rounded down, so that none is shown as a bound that it does not reach.
    """

    header: str
    unit: str = ""
    format: str = ""
    better: Better | None = None
    detail: bool = False
    floor: bool = False

    @property
    def heading(self) -> str:
        """The header with the unit."""
        return f"{self.header} ({self.unit})" if self.unit else self.header

    def text(self, cell: Cell) -> str:
        """Return a cell as text; "-" for None."""
        if isinstance(cell, Range):
            low, high = self._number(cell.low), self._number(cell.high)
            return self._number(cell.value) + (f" ({low} to {high})" if low != high else "")
        if cell is None or isinstance(cell, str):
            return "-" if cell is None else cell
        return self._number(cell)

    def shown(self, value: float) -> float:
        """Return a number rounded down if the column says so."""
        return floored(value, int(self.format[-2])) if self.floor else value

    def _number(self, value: float) -> str:
        if self.format.endswith("g") and abs(value) >= 1000:
            return format(value, ",.0f")  # "1,234" instead of "1.23e+03"
        return format(self.shown(value), self.format)


@dataclass(frozen=True)
class Table:
    """A table. The first column names the row.

    Attributes:
        title: What it shows, "" if the text above it says so.
        columns: Its columns.
        rows: A cell for each column; None where there is no value.

    Raises:
        ValueError: A row has too few or too many cells, or a number does not fit its column's format.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]

    def __post_init__(self) -> None:
        wrong = [row for row in self.rows if len(row) != len(self.columns)]
        if wrong:
            cells = f"{len(wrong[0])} cells for {len(self.columns)} columns"
            raise ValueError(f"{cells} in the table {self.title!r}: {wrong[0]}")
        self.texts()

    def texts(self) -> list[list[str]]:
        """Return the rows as text."""
        return [[column.text(cell) for column, cell in zip(self.columns, row, strict=True)] for row in self.rows]


def floored(value: float, digits: int) -> float:
    """Return a number rounded down to so many digits after the point; one that has no more stays what it is."""
    nearest = round(value, digits)
    return nearest if math.isclose(nearest, value, rel_tol=1e-12) else math.floor(value * 10**digits) / 10**digits


def to_rich(table: Table) -> "RichTable":
    """Return the table for a console, without the columns that are details."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable

    drawn = RichTable(title=table.title or None, title_justify="left", box=SIMPLE_HEAD, collapse_padding=True)
    shown = [index for index, column in enumerate(table.columns) if not column.detail]
    for index in shown:
        column = table.columns[index]
        drawn.add_column(column.heading, justify="right" if column.format else "left", overflow="fold")
    for row in table.texts():
        drawn.add_row(*(row[index] for index in shown))
    return drawn


def to_markdown(table: Table) -> str:
    """Return the table as Markdown, without its title."""
    head = "| " + " | ".join(plain(column.heading) for column in table.columns) + " |"
    rule = "|" + "|".join("--:" if column.format else "---" for column in table.columns) + "|"
    return "\n".join([head, rule, *("| " + " | ".join(map(plain, row)) + " |" for row in table.texts())])


def to_csv(table: Table) -> str:
    """Return the table as CSV with its plain numbers; a column of ranges becomes three.

    A text that a spreadsheet would read as a formula gets an apostrophe before it.
    """
    ranged = [any(isinstance(row[i], Range) for row in table.rows) for i in range(len(table.columns))]
    file = io.StringIO()
    writer = csv.writer(file)  # with CRLF, or a carriage return in a text would not be quoted and end the row
    heads = [
        [column.heading, f"{column.heading}, low", f"{column.heading}, high"] if wide else [column.heading]
        for column, wide in zip(table.columns, ranged, strict=True)
    ]
    writer.writerow([_harmless(name) for names in heads for name in names])
    for row in table.rows:
        cells = [_bounds(cell) if wide else [cell] for cell, wide in zip(row, ranged, strict=True)]
        writer.writerow([_harmless(value) for values in cells for value in values])
    return file.getvalue()


def plain(text: str) -> str:
    """Return text that means no markup in Markdown: what comes from a payload may say anything."""
    return re.sub(r"([\\`*_<>&\[\]|])", r"\\\1", text).replace("\n", " ")


def _bounds(cell: Cell) -> list[Cell]:
    return [cell.value, cell.low, cell.high] if isinstance(cell, Range) else [cell, None, None]


def _harmless(cell: Cell) -> Cell:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
