"""Tables whose rows name images: CSV, TSV or JSON lines of paths or URLs, from a file or from standard input.

The column with the path or URL is found by its name; the others are payload. CSV has text only, JSON has numbers.
"""

import io
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
from typing import Any, BinaryIO

from cbir.errors import CbirError, UsageError
from cbir.records import Item, to_plain
from cbir.sources.base import (
    FileBytes,
    Items,
    Source,
    SourceOptions,
    check_columns,
    count_items,
    is_complete,
    refuse,
    row_conditions,
    selection,
    unusable,
    with_version,
)
from cbir.sources.table_rows import Row, csv_rows, json_rows, lines_of, path_rows
from cbir.text import without_login

IMAGE_COLUMNS = ("image", "image_path", "file_name", "filename", "filepath", "file", "path", "image_url", "url", "uri")
"""Names of the column with the path or URL, in any case; the first that a table has is taken."""

_LOOKED_AT = 100
_URL = re.compile(r"\s*[a-z][a-z0-9+.-]*://", re.IGNORECASE)


@dataclass(frozen=True)
class RowReader:
    """Turns rows into items.

    Attributes:
        image: The column with the path or URL.
        folder: What relative paths start from.
        anywhere: True if paths may lead out of the folder.
        options: As given; `label`, `key`, `payload` and `allow_private_addresses` matter here.
    """

    image: str
    folder: Path
    anywhere: bool
    options: SourceOptions

    def item(self, row: Row) -> Item:
        """Return the item of a row; one that cannot be read says why."""
        options, values = self.options, row.values
        place, key = values.get(self.image), values.get(options.key) if options.key else None
        number = f"row {row.number}"
        if row.error:
            return Item(number, partial(unusable, row.error))
        if options.key and key in (None, ""):
            return Item(number, partial(unusable, f"the row has no {options.key}, which is to be its key"))
        if not isinstance(place, str) or not place.strip():
            reason = f"the row has no path or URL in {self.image}"
            return Item(number if key is None else str(key), partial(unusable, reason))
        found, read = self._place(place)
        label = values.get(options.label) if options.label else None
        names = options.payload
        if names is None:
            names = tuple(name for name in values if name not in (self.image, options.label))
        payload = {name: values.get(name) for name in names}
        return Item(str(key if options.key else found), read, None if label in (None, "") else str(label), payload)

    def _place(self, place: str) -> tuple[str, Callable[[], bytes]]:
        """Return the key that a path or URL gives, and what reads it."""
        if _URL.match(place):
            from cbir.sources.remote import Limits, fetch

            limits = Limits(private=self.options.allow_private_addresses)
            return without_login(place.strip()), partial(fetch, place.strip(), limits)
        start = f"{self.folder}".rstrip("/") + "/"
        path = os.path.normpath(place if place.startswith("/") else start + place)
        if not path.startswith(start) and not self.anywhere:
            return place, partial(unusable, f"its path leads out of the table's folder, {to_plain(start)}")
        return path.removeprefix(start), FileBytes(path)


def image_column(columns: Iterable[str]) -> str | None:
    """Return the column that names the images, None if no name is a usual one."""
    by_name = {str(column).lower(): column for column in reversed(list(columns))}
    return next((by_name[name] for name in IMAGE_COLUMNS if name in by_name), None)


def open_table(text: str, options: SourceOptions) -> Source:
    """Return the source for a .csv, .tsv, .jsonl or .ndjson file.

    Relative paths start from the table's folder. No path may lead out of it, since a table may come from someone else.

    Raises:
        UsageError: There is no such file, or no column that names images.
        CbirError: It breaks off before its first row.
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

    start = partial(json_rows, opener, text)
    if kind in separators:
        start = partial(csv_rows, opener, text, separators[kind])
    return _open_rows(text, to_plain(path.stem), to_plain(str(path)), start, path.parent, options, from_file=True)


def open_stdin(_: str, options: SourceOptions) -> Source:
    """Return the source for what comes in on standard input: a path or URL a line, or JSON lines.

    It is copied to a temporary file first. Paths may be absolute or start from the current folder, and lead anywhere,
    since whoever starts the command makes the list.

    Raises:
        UsageError: Nothing comes in, or no column names images.
    """
    name = "standard input"
    handle, path = tempfile.mkstemp()
    Path(path).unlink()  # so that nothing is left of it, however this process ends

    def start() -> Generator[Row, None, None]:
        with closing(lines_of(again, name)) as lines:
            first = next((line for line in lines if line.strip()), "")
        yield from json_rows(again, name) if first.lstrip().startswith("{") else path_rows(again, name)

    def again() -> BinaryIO:
        return io.BufferedReader(_FromStart(handle))

    weakref.finalize(start, os.close, handle)
    try:
        with os.fdopen(os.dup(handle), "wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
    except OSError as error:
        raise CbirError(f"{name} cannot be kept in {Path(path).parent}: {error.strerror}") from None
    return _open_rows(name, "stdin", name, start, Path.cwd(), options, from_file=False)


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
            f"{text} has no column that names images: call it one of {', '.join(IMAGE_COLUMNS)}; its columns are"
            f" {', '.join(columns)}"
        )
    check_columns(options, columns, text)
    conditions = row_conditions(options)
    reader = RowReader(image, folder, not from_file, options)

    def items() -> Iterator[Item]:
        for row in start():
            if row.error or all(condition.holds(row.values) for condition in conditions):
                yield reader.item(row)

    found = Items(items)
    keep = selection(found, options)
    complete = from_file and is_complete(options)
    return Source(name, origin, Items(lambda: map(with_version, keep(found))), count_items(keep(found)), [], complete)


class _FromStart(io.RawIOBase):
    """Reads an open file from its beginning, wherever others are in it."""

    def __init__(self, handle: int):
        self._handle = handle
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = os.pread(self._handle, len(buffer), self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
