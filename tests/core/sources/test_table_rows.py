"""Lines that are no rows: each is an item that says why, and spoils no other."""

import csv
import io
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from cbir.errors import CbirError
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source
from tests.support.sources import jpeg, reason


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{broken", "row 2|the row is not JSON: "),
        ("[1, 2]", "row 2|the row is not a JSON object"),
        ('"text"', "row 2|the row is not a JSON object"),
        ('{"path": "img/0.jpg", "x": ' + "[" * 60 + "]" * 60 + "}", "row 2|nested deeper than 50 levels"),
        ('{"path": "img/0.jpg", "x": ' + "[" * 100_000 + "]" * 100_000 + "}", "row 2|nested deeper than 50 levels"),
        ("\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "row 2|the row is not JSON"),
    ],
)
def test_a_line_that_is_no_row_is_one_too(shop: Path, line: str, why: str) -> None:
    (shop / "a.jsonl").write_text('{"path": "img/0.jpg"}\n' + line + '\n{"path": "img/1.jpg"}\n')
    items = list(open_source(str(shop / "a.jsonl"), SourceOptions()).items)
    key, text = why.split("|")
    assert [items[0].key, items[1].key, items[2].key] == ["img/0.jpg", key, "img/1.jpg"]
    assert text in reason(items[1])
    assert items[2].read() == jpeg("green")


def test_a_csv_row_of_another_length(shop: Path) -> None:
    (shop / "a.csv").write_text("path,n\nimg/0.jpg\nimg/1.jpg,1,\nimg/2.jpg,1,2\n")
    short, trailing, long = open_source(str(shop / "a.csv"), SourceOptions()).items
    assert (short.payload, trailing.payload) == ({"n": None}, {"n": "1"})
    assert "more values than there are columns" in reason(long)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('img/1.jpg,"never closed', "the row is malformed: "),
        ('img/1.jpg,"' + "x" * 200_000 + '"', "field larger than field limit"),
        ('img/1.jpg,"' + "x" * 200_000, "field larger than field limit"),
        ("img/1.jpg," + "x" * (9 * 2**20), "field larger than field limit"),
    ],
)
@pytest.mark.parametrize("rows_after", [1, 50_000])
def test_a_bad_cell_spoils_its_own_row_only(shop: Path, line: str, why: str, rows_after: int) -> None:
    after = "img/2.jpg,b\n" * (rows_after - 1) + 'img/2.jpg,"two\nlines"\n'
    (shop / "a.csv").write_text(f"path,n\nimg/0.jpg,a\n{line}\n{after}")
    first, bad, *others = open_source(str(shop / "a.csv"), SourceOptions()).items
    assert (first.key, bad.key, len(others)) == ("img/0.jpg", "row 2", rows_after)
    assert why in reason(bad)
    assert {item.key for item in others} == {"img/2.jpg"}
    assert others[-1].payload == {"n": "two\nlines"}


@pytest.mark.parametrize("line", ['y"z,"', '"', 'b.jpg,"x'])
def test_lines_of_malformed_rows_are_parsed_a_few_times_only(
    line: str, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each line closes the quotation mark of the line before and opens the next, so a row could be the whole file."""
    parsed, reader = 0, csv.reader

    def counting(lines: Iterable[str]) -> Iterator[str]:
        nonlocal parsed
        for text in lines:
            parsed += 1
            yield text

    monkeypatch.setattr(csv, "reader", lambda lines, **options: reader(counting(lines), **options))
    good, count = 'img/0.jpg,"two\nlines"\n', 5000
    (shop / "a.csv").write_text(f'path,n\n{good}a.jpg,"\n' + f"{line}\n" * count + "\n" * 1001 + good)
    items = list(open_source(str(shop / "a.csv"), SourceOptions()).items)
    assert parsed < 40 * count
    assert {items[0].key, items[-1].key} == {"img/0.jpg"}
    assert items[-1].payload == {"n": "two\nlines"}


def test_a_row_of_too_many_lines_is_malformed(shop: Path) -> None:
    rows = [f'img/{i}.jpg,"' + "x\n" * lines + '"\n' for i, lines in enumerate((999, 1000))]
    (shop / "a.csv").write_text("path,n\n" + "".join(rows) + "img/2.jpg,1\n")
    first, second, *_, last = open_source(str(shop / "a.csv"), SourceOptions()).items
    assert (first.key, second.key, last.key) == ("img/0.jpg", "row 2", "img/2.jpg")
    assert reason(second) == "the row is malformed: a quotation mark is not closed within 1,000 lines"


def test_a_header_that_cannot_be_read_is_one_line(shop: Path) -> None:
    (shop / "a.csv").write_text("path," + "x" * 200_000 + "\nimg/0.jpg,1\n")
    with pytest.raises(CbirError, match=r"a.csv: the header cannot be read: the row is malformed: field larger"):
        open_source(str(shop / "a.csv"), SourceOptions())


def test_a_line_that_is_too_long_spoils_its_own_row_only(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = '{"path": "img/0.jpg"}'
    (shop / "a.jsonl").write_text("\n".join([good] * 150 + ["x" * (9 * 2**20), good]))
    items = list(open_source(str(shop / "a.jsonl"), SourceOptions()).items)
    assert [item.key for item in items] == ["img/0.jpg"] * 150 + ["row 151", "img/0.jpg"]
    assert reason(items[150]) == "the row is longer than 4 MiB"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a.jpg\n" + b"x" * (5 * 2**20) + b"\nb.jpg")))
    assert [Path(item.key).name for item in open_source("-", SourceOptions()).items] == ["a.jpg", "row 2", "b.jpg"]
