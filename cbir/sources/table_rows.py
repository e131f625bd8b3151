"""Rows out of text: CSV with a header, JSON lines, or a path or URL a line. A bad row is a row that says so."""

import csv
import io
import json
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

from cbir.errors import CbirError

Opener = Callable[[], BinaryIO]

_MAX_LINE = 4 * 2**20
_MAX_DEPTH = 50


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its number (from 1), its values, and what is wrong with it if something is."""

    number: int
    values: Mapping[str, Any]
    error: str = ""


def csv_rows(opener: Opener, text: str, separator: str) -> Generator[Row, None, None]:
    """Yield the rows of a CSV file with a header; every value is text.

    Raises:
        CbirError: It cannot be read on; `text` is how the message names it.
    """
    with closing(lines_of(opener, text)) as lines:
        table = csv.DictReader(lines, delimiter=separator)
        try:
            for number, values in enumerate(table, 1):
                extra = dict[Any, Any](values).get(None)
                error = "the row has more values than there are columns" if extra and any(extra) else ""
                yield Row(number, {name: value for name, value in values.items() if name is not None}, error)
        except csv.Error as error:
            raise CbirError(f"{text}, line {table.line_num}: {error}") from None


def json_rows(opener: Opener, text: str) -> Generator[Row, None, None]:
    """Yield a row for each line, which should be a JSON object.

    Raises:
        CbirError: It cannot be read on; `text` is how the message names it.
    """
    with closing(lines_of(opener, text)) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                values = parse_json(line)
            except ValueError as error:
                yield Row(number, {}, f"the row is no JSON: {error}")
                continue
            yield Row(number, values) if isinstance(values, dict) else Row(number, {}, "the row is no JSON object")


def path_rows(opener: Opener, text: str) -> Generator[Row, None, None]:
    """Yield a row with the one column `path` for each line that is not empty.

    Raises:
        CbirError: It cannot be read on; `text` is how the message names it.
    """
    with closing(lines_of(opener, text)) as lines:
        for number, line in enumerate(lines, 1):
            place = line.rstrip("\r\n")
            if place:
                yield Row(number, {"path": place})


def lines_of(opener: Opener, text: str) -> Generator[str, None, None]:
    """Yield a file's lines; bytes that are no UTF-8 become what they are in file names.

    Raises:
        CbirError: A line is too long to be one.
    """
    with io.TextIOWrapper(opener(), encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
        for number, line in enumerate(iter(partial(file.readline, _MAX_LINE), ""), 1):
            if len(line) == _MAX_LINE:
                raise CbirError(f"{text}, line {number}: longer than {_MAX_LINE >> 20} MiB")
            yield line


def parse_json(text: str) -> Any:
    """Return the value of a JSON text that is not nested too deeply to be stored.

    Raises:
        ValueError: It is none.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        value, too_deep = None, True
    else:
        too_deep = _deeper(value, _MAX_DEPTH)
    if too_deep:
        raise ValueError(f"nested deeper than {_MAX_DEPTH} levels")
    return value


def _deeper(value: Any, levels: int) -> bool:
    """Return True if a JSON value is nested deeper than so many levels."""
    if not isinstance(value, dict | list):
        return False
    return levels == 0 or any(
        _deeper(inner, levels - 1) for inner in (value.values() if isinstance(value, dict) else value)
    )
