"""Lines that are no rows: each is an item that says why, or ends the table with the number of its line."""

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


def test_what_breaks_a_table_off_names_the_line(shop: Path) -> None:
    (shop / "open.csv").write_text('path,n\nimg/0.jpg,1\nimg/1.jpg,"' + "x\n" * 100_000)
    with pytest.raises(CbirError, match=r"open.csv, line \d+: field larger"):
        open_source(str(shop / "open.csv"), SourceOptions())
    (shop / "line.jsonl").write_text('{"path": "img/0.jpg"}\n' * 150 + "x" * (5 * 2**20))
    with pytest.raises(CbirError, match=r"line.jsonl, line 151: longer than 4 MiB"):
        open_source(str(shop / "line.jsonl"), SourceOptions())
