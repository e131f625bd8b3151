"""One description of a table, drawn in several ways."""

import csv
import io

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from cbir.tables import Cell, Column, Range, Table, plain, to_csv, to_markdown, to_rich

TABLE = Table(
    "Speed",
    [Column("store"), Column("search", "ms", ".2f", better="lower"), Column("points", format=",d", detail=True)],
    [["edge", Range(1.234, 1.0, 1.5), 36906], ["faiss | `flat`", 0.5, None]],
)


@pytest.mark.parametrize(
    ("column", "cell", "text"),
    [
        (Column("x"), "word", "word"),
        (Column("x", format=".2f"), None, "-"),
        (Column("x", format=",d"), 36906, "36,906"),
        (Column("x", format=".3g"), 12.345, "12.3"),
        (Column("x", format=".3g"), 12345.6, "12,346"),
        (Column("x", format=".1%"), 0.123, "12.3%"),
        (Column("x", format=".2f"), Range(1, 0.5, 2), "1.00 (0.50 to 2.00)"),
        (Column("x", format=".1f"), Range(1, 1.01, 0.99), "1.0"),
    ],
)
def test_a_cell_is_written_in_its_columns_format(column: Column, cell: Cell, text: str) -> None:
    assert column.text(cell) == text


def test_a_share_is_rounded_down_where_it_must_not_seem_to_reach_a_bound() -> None:
    column = Column("recall", format=".3f", floor=True)
    assert [column.text(value) for value in (0.98996, 0.99, 0.29, 1.0)] == ["0.989", "0.990", "0.290", "1.000"]
    assert column.text(Range(0.9899, 0.9799, 0.9999)) == "0.989 (0.979 to 0.999)"
    assert Column("recall", format=".3f").text(0.98996) == "0.990"


def test_a_row_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="1 cells for 2 columns in the table 'x'"):
        Table("x", [Column("a"), Column("b")], [["only one"]])
    with pytest.raises(ValueError, match="format code"):
        Table("x", [Column("a", format="d")], [[0.5]])


def test_a_console_leaves_details_out() -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(to_rich(TABLE))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "1.23 (1.00 to 1.50)" in text and "search (ms)" in text
    assert "points" not in text


def test_markdown_keeps_its_cells_whatever_they_hold() -> None:
    parsed = MarkdownIt("commonmark").enable("table").render(to_markdown(TABLE))
    assert parsed.count("<td") == 6
    assert "faiss | `flat`" in parsed and "<code>" not in parsed


def test_csv_has_plain_numbers_and_three_columns_for_a_range() -> None:
    rows = list(csv.reader(io.StringIO(to_csv(TABLE))))
    assert rows == [
        ["store", "search (ms)", "search (ms), low", "search (ms), high", "points"],
        ["edge", "1.234", "1.0", "1.5", "36906"],
        ["faiss | `flat`", "0.5", "", "", ""],
    ]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_csv_has_no_text_that_a_spreadsheet_reads_as_a_formula(start: str) -> None:
    table = Table("", [Column(f"{start}1+1"), Column("number")], [[f"{start}1+1", -1.5], [f"1{start}=1", None]])
    head, first, second = csv.reader(io.StringIO(to_csv(table), newline=""))
    assert head == [f"'{start}1+1", "number"]
    assert first == [f"'{start}1+1", "-1.5"]
    assert second == [f"1{start}=1", ""]


def test_plain_text_is_no_markup() -> None:
    assert "<a" not in MarkdownIt("commonmark").render(plain("[x](http://evil.example) <b>"))
