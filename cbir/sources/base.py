"""The parts of every source: its options, its items, and the functions that all sources share.

Items are made one by one, in the same order each time. A folder tree is listed once, when it is opened. A table, a data
set or a shard is read again each time.
"""

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import PurePosixPath

from cbir.errors import ImageError, UsageError
from cbir.filters.parser import Condition, parse_conditions
from cbir.images.files import read_file
from cbir.records import Item, to_json, to_plain


@dataclass(frozen=True)
class SourceOptions:
    """How to read a source.

    Example:
        >>> new = cbir.open("./part", "part", create=True)
        >>> new.add("./photos", options=cbir.SourceOptions(limit=3)).stored
        3

    Attributes:
        label: The column with the class (data sets and tables); by default `label`, or one of named classes.
        key: The column with the unique key (data sets and tables). By default a column with a usual name.
        split: The split of a data set that has splits; None is "train".
        top_classes: Keep only the images of this many most frequent classes.
        limit: Keep only this many images, the first ones.
        payload: The columns to store with the vectors; None stores all.
        filter: Keep only the rows that meet these conditions, see `cbir.filters.parser`.
        shard: (i, n) with 1 <= i <= n: keep the i-th of n shares of what the options above leave.
        allow_private_addresses: Fetch URLs that lead to private addresses too (tables).
        streaming: Read a data set without downloading or converting it first.
        only: Folders: take only these files and folders, by their paths below it. `sync` then compares them alone, and
            removes those that do not exist. Other sources are taken as a whole.
    """

    label: str | None = None
    key: str | None = None
    split: str | None = None
    top_classes: int | None = None
    limit: int | None = None
    payload: tuple[str, ...] | None = None
    filter: str | None = None
    shard: tuple[int, int] | None = None
    allow_private_addresses: bool = False
    streaming: bool = False
    only: frozenset[str] | None = None


LEADS_OUT = "its path leads out of the table's folder, {} (a list on standard input may do so)"

ALL_IMAGES = SourceOptions()


@dataclass(frozen=True)
class Source:
    """Images to ingest.

    Attributes:
        origin: The address of the images; a collection takes its images from one origin.
        items: The images; they can be iterated any number of times.
        total: The number of images, None if unknown.
        notes: Texts for the user, such as licences.
        complete: True if the items are all that the origin has, so that a stored key not among them is missing there.
        unique_keys: True if no two items can have the same key.
        other_files: The number of files in a folder tree that are no images by their suffix.
        label_of: Returns the class of the image with a key, if the key decides it.
        only: Keys of images and folders, if the items are all that the origin has of these.
    """

    name: str
    origin: str
    items: Iterable[Item]
    total: int | None = None
    notes: list[str] = field(default_factory=list)
    complete: bool = False
    unique_keys: bool = False
    other_files: int = 0
    label_of: Callable[[str], str | None] | None = None
    only: frozenset[str] | None = None


def is_below(key: str, folders: Collection[str]) -> bool:
    """Return True if a key, or a folder that it is in, is among some keys."""
    return key in folders or any(str(folder) in folders for folder in PurePosixPath(key).parents)


class Items:
    """Items that are made one by one, again in each iteration."""

    def __init__(self, start: Callable[[], Iterator[Item]]):
        self._start = start

    def __iter__(self) -> Iterator[Item]:
        return self._start()


@dataclass(frozen=True, slots=True)
class FileBytes:
    """Reads one file; the `read` of an item. With `below`, links out of this folder are not followed."""

    path: str
    below: str = ""

    def __call__(self) -> bytes:
        """Return the file's bytes; see `read_file`."""
        try:
            path = os.path.realpath(self.path) if self.below else self.path
        except ValueError:
            raise ImageError("not a valid file name") from None
        if not path.startswith(self.below):
            raise ImageError(LEADS_OUT.format(to_plain(self.below)))
        return read_file(path)

    def token(self) -> str:
        """Return a text that changes with the file; see `file_token`."""
        return file_token(self.path)


@dataclass(frozen=True, slots=True)
class BadRow:
    """The `read` of an item whose row cannot be read, so that its image may be any of the stored ones."""

    reason: str

    def __call__(self) -> bytes:
        """Raise `ImageError` with the reason."""
        raise ImageError(self.reason)


def refuse(options: SourceOptions, names: Iterable[str], what: str) -> None:
    """Raise `UsageError` if an option is given that this kind of source does not have."""
    for name in names:
        if getattr(options, name) not in (None, False):
            raise UsageError(f"--{name.replace('_', '-')} does not work with {what}")


def check_columns(options: SourceOptions, columns: Collection[str], text: str) -> None:
    """Raise `UsageError` if an option names a column that the source does not have."""
    wanted = [("label", options.label), ("key", options.key)]
    wanted += [("payload", column) for column in options.payload or ()]
    wanted += [("filter", condition.column) for condition in row_conditions(options)]
    for name, column in wanted:
        if column is not None and column not in columns:
            existing = ", ".join(map(str, columns))
            raise UsageError(f"{text} has no column {column!r} for --{name}. Its columns are {existing}.")


def row_conditions(options: SourceOptions) -> tuple[Condition, ...]:
    """Return the conditions of the rows to keep."""
    return parse_conditions(options.filter) if options.filter is not None else ()


def parse_shard(text: str) -> tuple[int, int]:
    """Return (i, n) for `i/n`.

    Raises:
        UsageError: The text is something else, or 1 <= i <= n does not hold.
    """
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise UsageError(f"Invalid shard: {text!r}. Use I/N with 1 <= I <= N, such as 3/16.")
    return int(number), int(count)


def choose(source: Source, options: SourceOptions, countable: Iterable[Item] | None) -> Source:
    """Return a source with the items that `top_classes`, `limit` and `shard` choose, each with its version.

    Every shard has the same classes and the same first items, so that all shards together are what a single process
    would take. `countable` are the same items, to be counted; None leaves the number of chosen items unknown.

    Raises:
        UsageError: `top_classes` needs labels, and the items have none.
    """
    count, limit, shard = options.top_classes, options.limit, options.shard
    labels = (item.label for item in (source.items if countable is None else countable))
    classes = top_labels(labels, count) if count is not None else None

    def keep(items: Iterable[Item]) -> Iterator[Item]:
        kept = islice((item for item in items if classes is None or item.label in classes), limit)
        return (item for item in kept if shard is None or in_shard(item.key, shard))

    every = all(getattr(options, name) is None for name in ("top_classes", "limit", "filter", "shard"))
    total = source.total if every else None
    if total is None and countable is not None:
        total = sum(1 for _ in keep(countable))
    items = Items(lambda: map(with_version, keep(source.items)))
    return replace(source, items=items, total=total, complete=source.complete and every)


def in_shard(key: str, shard: tuple[int, int]) -> bool:
    """Return True if a key belongs to the share (i, n) with 1 <= i <= n. The answer is the same on every machine."""
    number, count = shard
    hashed = hashlib.blake2b(to_plain(key).encode(), digest_size=8).digest()
    return int.from_bytes(hashed, "big") % count == number - 1


def top_labels(labels: Iterable[str | None], count: int) -> set[str]:
    """Return the `count` most frequent labels; equally frequent ones are taken in alphabetical order."""
    found = Counter(label for label in labels if label is not None)
    if not found:
        raise UsageError("--top-classes needs labels, and this source has none. Name their column with --label.")
    return set(sorted(found, key=lambda label: (-found[label], label))[:count])


def with_version(item: Item, token: str | None = None) -> Item:
    """Return the item with a version, made of `token` or else of what `item.read.token` returns.

    If label and payload do not come from the file itself, their digest is part of the version too, so that a new label
    of an old file counts as a change.
    """
    if token is None and hasattr(item.read, "token"):
        token = item.read.token()
    if token and item.payload is not None:
        row = to_json({"label": to_plain(item.label), "payload": to_plain(item.payload)})
        token = f"{token}:{hashlib.blake2b(row.encode(), digest_size=8).hexdigest()}"
    return replace(item, version=token) if token else item


def is_same_row(version: str, other: str) -> bool:
    """Return True if two versions of items that have a payload say that label and payload are the same."""
    return ":" in version and version.rpartition(":")[2] == other.rpartition(":")[2]


def unusable(reason: str) -> bytes:
    """Raise `ImageError` with the reason. With a bound reason, it is the `read` of an item that cannot be read."""
    raise ImageError(reason)


def file_token(path: str) -> str:
    """Return the size and the modification time of a regular file as one text, "" if there is no such file."""
    try:
        status = os.stat(path)  # noqa: PTH116 - ten million Path objects take too long
    except (OSError, ValueError):  # such as a broken link; reading it will fail with the reason
        return ""
    return f"{status.st_size}:{status.st_mtime_ns}" if stat.S_ISREG(status.st_mode) else ""
