"""What every source is made of: its options, its items, and what the functions that open sources share.

Items are made one by one, in the same order each time. A folder tree is listed once, when it is opened, and its images'
names are kept; a table, a data set or a shard is read again each time.
"""

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

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
        label: Column that holds the class (data sets and tables).
        key: Column that holds the unique key (data sets and tables); found by itself where there is a usual one.
        split: Split of a data set that has splits; "train" if None.
        top_classes: Keep only the rows of this many most frequent classes.
        limit: Keep only the first so many.
        payload: Keep only these columns beside the vectors; None keeps all.
        filter: Keep only the rows that meet these conditions, see `cbir.filters.parser`.
        shard: (i, n), 1 <= i <= n: keep the i-th of n shares of what the options above leave.
        allow_private_addresses: Fetch URLs that lead to private addresses too (tables).
        streaming: Read a data set without downloading or converting it first.
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


ALL_IMAGES = SourceOptions()


@dataclass(frozen=True)
class Source:
    """Images to ingest.

    Attributes:
        name: The data set's name.
        origin: Where it lies; a collection takes its images from one origin.
        items: The images; can be gone through any number of times.
        total: How many, if known.
        notes: What to tell the user, licences for instance.
        complete: True if the items are all that the origin has, so that a stored key not among them is missing there.
        unique_keys: True if no two items can have the same key.
        other_files: The number of files in a folder tree that are no images by their suffix.
    """

    name: str
    origin: str
    items: Iterable[Item]
    total: int | None = None
    notes: list[str] = field(default_factory=list)
    complete: bool = False
    unique_keys: bool = False
    other_files: int = 0


class Items:
    """Items that are made anew, one by one, each time they are gone through."""

    def __init__(self, start: Callable[[], Iterator[Item]]):
        self._start = start

    def __iter__(self) -> Iterator[Item]:
        return self._start()


@dataclass(frozen=True, slots=True)
class FileBytes:
    """Reads one file, as an item's `read`."""

    path: str

    def __call__(self) -> bytes:
        """Return its bytes; see `read_file`."""
        return read_file(self.path)


def refuse(options: SourceOptions, names: Iterable[str], what: str) -> None:
    """Raise `UsageError` if an option is given that this kind of source has no use for."""
    for name in names:
        if getattr(options, name) not in (None, False):
            raise UsageError(f"--{name.replace('_', '-')} means nothing for {what}")


def check_columns(options: SourceOptions, columns: Collection[str], text: str) -> None:
    """Raise `UsageError` if an option names a column that the source has not."""
    wanted = {
        "label": [options.label] if options.label is not None else [],
        "key": [options.key] if options.key is not None else [],
        "payload": options.payload or (),
        "filter": [condition.column for condition in row_conditions(options)],
    }
    for name, named in wanted.items():
        for column in named:
            if column not in columns:
                raise UsageError(
                    f"{text} has no column {column!r} for --{name}; its columns are {', '.join(map(str, columns))}"
                )


def row_conditions(options: SourceOptions) -> tuple[Condition, ...]:
    """Return the conditions that a row has to meet to be kept."""
    return parse_conditions(options.filter) if options.filter is not None else ()


def parse_shard(text: str) -> tuple[int, int]:
    """Return (i, n) for `i/n`.

    Raises:
        UsageError: It is something else, or not 1 <= i <= n.
    """
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise UsageError(f"--shard {text} is not I/N with 1 <= I <= N, such as 3/16")
    return int(number), int(count)


def is_complete(options: SourceOptions) -> bool:
    """Return True if these options leave every image of a source."""
    return all(getattr(options, name) is None for name in ("top_classes", "limit", "filter", "shard"))


def selection(items: Iterable[Item], options: SourceOptions) -> Callable[[Iterable[Item]], Iterator[Item]]:
    """Return a function that leaves of items what `top_classes`, `limit` and `shard` choose, in that order, lazily.

    Every shard chooses the same classes and the same first items, so that the shards together are what one process
    would take.

    Args:
        items: What the classes are counted of, once and now, if `top_classes` is given.
        options: As given.

    Raises:
        UsageError: `top_classes` is asked of items without labels.
    """
    count, limit, shard = options.top_classes, options.limit, options.shard
    classes = top_labels((item.label for item in items), count) if count is not None else None

    def keep(items: Iterable[Item]) -> Iterator[Item]:
        kept = islice((item for item in items if classes is None or item.label in classes), limit)
        return (item for item in kept if shard is None or in_shard(item.key, shard))

    return keep


def select(items: Iterable[Item], options: SourceOptions) -> Iterable[Item]:
    """Return what `selection` leaves of the items."""
    keep = selection(items, options)
    return Items(lambda: keep(items))


def count_items(items: Iterable[Item]) -> int:
    """Return how many there are, keeping none."""
    return sum(1 for _ in items)


def in_shard(key: str, shard: tuple[int, int]) -> bool:
    """Return True if the key's share, (i, n) with 1 <= i <= n, is this one; the same on every machine."""
    number, count = shard
    hashed = hashlib.blake2b(to_plain(key).encode(), digest_size=8).digest()
    return int.from_bytes(hashed, "big") % count == number - 1


def top_labels(labels: Iterable[str | None], count: int) -> set[str]:
    """Return the `count` most frequent labels; of equally frequent ones the first in the alphabet."""
    found = Counter(label for label in labels if label is not None)
    if not found:
        raise UsageError("--top-classes needs labels, and this source has none; name their column with --label")
    return set(sorted(found, key=lambda label: (-found[label], label))[:count])


def with_version(item: Item, token: str | None = None) -> Item:
    """Return the item with `token` as its version, or else its file's size and time of change.

    An item that takes its payload and label from elsewhere than its file gets their digest as well, so that a new label
    of an old file counts as a change.
    """
    if token is None and isinstance(item.read, FileBytes):
        token = file_token(item.read.path)
    if token and item.payload is not None:
        row = to_json({"label": to_plain(item.label), "payload": to_plain(item.payload)})
        token = f"{token}:{hashlib.blake2b(row.encode(), digest_size=8).hexdigest()}"
    return replace(item, version=token) if token else item


def unusable(reason: str) -> bytes:
    """Raise `ImageError` with the reason: bound to it, what an item's `read` is where there is nothing to read."""
    raise ImageError(reason)


def file_token(path: str) -> str:
    """Return a regular file's size and time of change as one token, "" if there is no such file."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a Path for each of ten million files takes longer than this
    except (OSError, ValueError):  # a link to nothing, say; reading it will say so
        return ""
    return f"{status.st_size}:{status.st_mtime_ns}" if stat.S_ISREG(status.st_mode) else ""
