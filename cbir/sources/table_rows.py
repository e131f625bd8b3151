"""Rows of CSV, JSON Lines, or lists of paths and URLs. A malformed row has an error with the reason."""

import csv
import io
import json
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

from cbir.errors import CbirError

Opener = Callable[[], BinaryIO]

_MAX_LINE = 4 * 2**20
_TOO_LONG = "x" * _MAX_LINE
"""Stands for a line that is longer. As a cell of CSV it is too large, too."""
_TOO_LONG_ERROR = f"the row is longer than {_MAX_LINE >> 20} MiB"
_MAX_DEPTH = 50
_MAX_ROW_LINES = 1000
_MAX_TIMES_AGAIN = 8
_NOT_CLOSED = f"a quotation mark is not closed within {_MAX_ROW_LINES:,} lines"


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its number (from 1), its values, and the reason if it is malformed."""

    number: int
    values: Mapping[str, Any]
    error: str = ""


def csv_rows(opener: Opener, text: str, separator: str) -> Generator[Row, None, None]:
    """Yield the rows of a CSV file with a header. Every value is text.

    Raises:
        CbirError: The header cannot be read. `text` is the file's name in the message.
    """
    with closing(lines_of(opener)) as lines:
        rows = _csv_cells(lines, separator)
        columns, malformed = next(rows, ([], ""))
        if malformed:
            raise CbirError(f"{text}: the header cannot be read: {malformed}")
        for number, (cells, error) in enumerate(rows, 1):
            values = dict.fromkeys(columns) | dict(zip(columns, cells, strict=False))
            if any(cells[len(columns) :]):
                error = "the row has more values than there are columns"
            yield Row(number, {} if error else values, error)


def _csv_cells(lines: Iterator[str], separator: str) -> Generator[tuple[list[str], str], None, None]:
    """Yield the cells of each row, or else the reason why it is malformed.

    After a row that is malformed over several lines, reading continues with its second line: a quotation mark that is
    never closed spoils one line only. Lines that were read again several times become no part of a longer row, so that
    no file takes quadratic time.
    """
    again: deque[tuple[str, int]] = deque()  # lines, and how often each was put back
    while True:
        taken: list[tuple[str, int]] = []

        def remaining(taken: list[tuple[str, int]] = taken) -> Iterator[str]:
            for line, times in iter(lambda: again.popleft() if again else (next(lines, ""), 0), ("", 0)):
                if taken and (len(taken) == _MAX_ROW_LINES or times == _MAX_TIMES_AGAIN):
                    again.appendleft((line, times))
                    raise csv.Error(_NOT_CLOSED)
                taken.append((line, times))
                yield line

        error = ""
        try:
            cells = next(csv.reader(remaining(), delimiter=separator), None)
            if len(taken) > 1:
                next(csv.reader([line for line, _ in taken], delimiter=separator, strict=True))
        except csv.Error as problem:
            cells, error = [], f"the row is malformed: {problem}"
        if cells is None:
            return
        if error:
            again.extendleft((line, times + 1) for line, times in reversed(taken[1:]))
        if cells or error:
            yield cells, error


def json_rows(opener: Opener) -> Generator[Row, None, None]:
    """Yield a row for each line, which should be a JSON object."""
    with closing(lines_of(opener)) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                values = parse_json(line)
            except ValueError as error:
                yield Row(number, {}, _TOO_LONG_ERROR if line is _TOO_LONG else f"the row is not JSON: {error}")
                continue
            yield Row(number, values) if isinstance(values, dict) else Row(number, {}, "the row is not a JSON object")


def path_rows(opener: Opener) -> Generator[Row, None, None]:
    """Yield a row with the one column `path` for each line that is not empty."""
    with closing(lines_of(opener)) as lines:
        for number, line in enumerate(lines, 1):
            place = line.rstrip("\r\n")
            if line is _TOO_LONG:
                yield Row(number, {}, _TOO_LONG_ERROR)
            elif place:
                yield Row(number, {"path": place})


def lines_of(opener: Opener) -> Generator[str, None, None]:
    """Yield the lines of a file, `_TOO_LONG` instead of a longer one. Bytes that are not UTF-8 become surrogates."""
    with io.TextIOWrapper(opener(), encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
        read = partial(file.readline, _MAX_LINE)
        while line := read():
            yield line if len(line) < _MAX_LINE else _TOO_LONG
            while len(line) == _MAX_LINE and not line.endswith("\n"):
                line = read()


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
