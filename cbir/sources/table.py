"""Tables whose rows name images: paths or URLs in CSV, TSV or JSON Lines, from a file or from standard input.

The column with the path or URL is found by its name; the other columns are payload. Values of CSV are always text.
"""

import os
import re
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from cbir.errors import CbirError, UsageError
from cbir.records import LABEL, Item, to_plain
from cbir.sources.base import (
    LEADS_OUT,
    BadRow,
    FileBytes,
    Items,
    Source,
    SourceOptions,
    check_columns,
    choose,
    refuse,
    row_conditions,
    unusable,
)
from cbir.sources.table_rows import Row, csv_rows, json_rows, lines_of, path_rows
from cbir.text import without_login

IMAGE_COLUMNS = ("image", "image_path", "file_name", "filename", "filepath", "file", "path", "image_url", "url", "uri")
"""Names of the column with the path or URL, in upper or lower case. The first one that a table has is used."""

_LOOKED_AT = 100
_URL = re.compile(r"\s*[a-z][a-z0-9+.-]*://", re.IGNORECASE)


@dataclass(frozen=True)
class RowReader:
    """Turns rows into items. `image` is the column with the path or URL, and `folder` that of relative paths.

    Paths may lead out of the folder if `anywhere` is True.
    """

    image: str
    folder: Path
    anywhere: bool
    options: SourceOptions

    def item(self, row: Row) -> Item:
        """Return the item of a row. Reading the item of a malformed row raises an error with the reason."""
        options, values = self.options, row.values
        place, key = values.get(self.image), values.get(options.key) if options.key else None
        number = f"row {row.number}"
        if row.error:
            return Item(number, BadRow(row.error))
        if options.key and key in (None, ""):
            return Item(number, partial(unusable, f"the row has no {options.key}, which is its key"))
        if not isinstance(place, str) or not place.strip():
            reason = f"the row has no path or URL in {self.image}"
            return Item(number if key is None else str(key), partial(unusable, reason))
        found, read = self._place(place)
        column = options.label or LABEL
        label, used = values.get(column), [self.image, column]
        if options.label is None and isinstance(label, list | dict):  # is no class, but a field to filter by
            label, used = None, [self.image]
        names = options.payload
        if names is None:
            names = tuple(name for name in values if name not in used)
        payload = {name: values.get(name) for name in names}
        return Item(str(key if options.key else found), read, None if label in (None, "") else str(label), payload)

    def _place(self, place: str) -> tuple[str, Callable[[], bytes]]:
        """Return the key of a path or URL, and the function that reads it."""
        if _URL.match(place):
            from cbir.sources.remote import Limits, fetch

            limits = Limits(private=self.options.allow_private_addresses)
            return without_login(place.strip()), partial(fetch, place.strip(), limits)
        start = f"{self.folder}".rstrip("/") + "/"
        path = os.path.normpath(place if place.startswith("/") else start + place)
        if not path.startswith(start) and not self.anywhere:
            return place, partial(unusable, LEADS_OUT.format(to_plain(start)))
        return path.removeprefix(start), FileBytes(path, "" if self.anywhere else start)


def image_column(columns: Iterable[str]) -> str | None:
    """Return the column that names the images, None if no column has a usual name."""
    by_name = {str(column).lower(): column for column in reversed(list(columns))}
    return next((by_name[name] for name in IMAGE_COLUMNS if name in by_name), None)


def open_table(text: str, options: SourceOptions) -> Source:
    """Return the source for a .csv, .tsv, .jsonl or .ndjson file.

    Paths are relative to the table's folder and may not lead out of it, since a table may come from someone else.

    Raises:
        UsageError: There is no such file, or no column that names images.
        CbirError: The file cannot be read up to its first row.
    """
    path = Path(text).expanduser().resolve()
    if not path.is_file():
        raise UsageError(f"{text} {'is no file' if path.exists() else 'does not exist'}")
    kind = path.suffix.lower()
    separators = {".csv": ",", ".tsv": "\t"}

    def opener() -> BinaryIO:
        try:
            return path.open("rb")
        except OSError as error:
            raise UsageError(f"{text} cannot be read: {error.strerror}") from None

    start = partial(json_rows, opener)
    if kind in separators:
        start = partial(csv_rows, opener, text, separators[kind])
    return _open_rows(text, to_plain(path.stem), to_plain(str(path)), start, path.parent, options, from_file=True)


def open_stdin(_: str, options: SourceOptions) -> Source:
    """Return the source for standard input: one path or URL on each line, or JSON Lines.

    It is copied to a temporary file first. Paths are absolute or relative to the current folder and may lead anywhere,
    since the user of the command made the list.

    Raises:
        UsageError: Standard input is empty, or no column names images.
    """
    name = "standard input"
    copy = tempfile.NamedTemporaryFile()  # noqa: SIM115 - it is deleted when the source is no longer used
    path = Path(copy.name)

    def opener() -> BinaryIO:
        return path.open("rb")

    weakref.finalize(opener, copy.close)
    try:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.flush()
    except OSError as error:
        raise CbirError(f"{name} cannot be kept in {path.parent}: {error.strerror}") from None
    with closing(lines_of(opener)) as lines:
        first = next((line for line in lines if line.strip()), "")
    rows = json_rows if first.lstrip().startswith("{") else path_rows
    return _open_rows(name, "stdin", name, partial(rows, opener), Path.cwd(), options, from_file=False)


def _open_rows(
    text: str,
    name: str,
    origin: str,
    start: Callable[[], Generator[Row, None, None]],
    folder: Path,
    options: SourceOptions,
    from_file: bool,
) -> Source:
    refuse(options, ("split", "streaming"), f"{text}, a table")
    with closing(start()) as rows:
        columns = list(dict.fromkeys(column for row in islice(rows, _LOOKED_AT) for column in row.values))
    if not columns:
        raise UsageError(f"{text} is empty, or has no row that can be read")
    image = image_column(columns)
    if image is None:
        raise UsageError(
            f"{text} has no column that names images. Name it one of {', '.join(IMAGE_COLUMNS)}. Its columns are"
            f" {', '.join(columns)}."
        )
    check_columns(options, columns, text)
    conditions = row_conditions(options)
    reader = RowReader(image, folder, not from_file, options)

    def items() -> Iterator[Item]:
        for row in start():
            if row.error or all(condition.holds(row.values) for condition in conditions):
                yield reader.item(row)

    every = Items(items)
    return choose(Source(name, origin, every, complete=from_file), options, every)
