"""Rows of CSV, JSON Lines, or lists of paths and URLs. A malformed row has an error with the reason."""

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
    """One row: its number (from 1), its values, and the reason if it is malformed."""

    number: int
    values: Mapping[str, Any]
    error: str = ""


def csv_rows(opener: Opener, text: str, separator: str) -> Generator[Row, None, None]:
    """Yield the rows of a CSV file with a header. Every value is text.

    Raises:
        CbirError: The file cannot be read further. `text` is its name in the message.
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
        CbirError: The file cannot be read further. `text` is its name in the message.
    """
    with closing(lines_of(opener, text)) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                values = parse_json(line)
            except ValueError as error:
                yield Row(number, {}, f"the row is not JSON: {error}")
                continue
            yield Row(number, values) if isinstance(values, dict) else Row(number, {}, "the row is not a JSON object")


def path_rows(opener: Opener, text: str) -> Generator[Row, None, None]:
    """Yield a row with the one column `path` for each line that is not empty.

    Raises:
        CbirError: The file cannot be read further. `text` is its name in the message.
    """
    with closing(lines_of(opener, text)) as lines:
        for number, line in enumerate(lines, 1):
            place = line.rstrip("\r\n")
            if place:
                yield Row(number, {"path": place})


def lines_of(opener: Opener, text: str) -> Generator[str, None, None]:
    """Yield the lines of a file. Bytes that are not UTF-8 are decoded as in file names.

    Raises:
        CbirError: A line is too long.
    """
    with io.TextIOWrapper(opener(), encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
        for number, line in enumerate(iter(partial(file.readline, _MAX_LINE), ""), 1):
            if len(line) == _MAX_LINE:
                raise CbirError(f"{text}, line {number}: longer than {_MAX_LINE >> 20} MiB")
            yield line


def parse_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: The text is not JSON, or is nested too deeply to be stored.
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
    """Return True if a JSON value is nested deeper than this number of levels."""
    if not isinstance(value, dict | list):
        return False
    return levels == 0 or any(
        _deeper(inner, levels - 1) for inner in (value.values() if isinstance(value, dict) else value)
    )
