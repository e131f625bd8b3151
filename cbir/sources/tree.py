"""Folder trees, here or in a bucket: each folder is listed once, and an image's class is its parent folder."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from cbir.errors import CbirError, UsageError
from cbir.images.decode import EXTENSIONS
from cbir.records import Item, to_plain
from cbir.sources.base import (
    Items,
    Source,
    SourceOptions,
    count_items,
    is_complete,
    refuse,
    selection,
    unusable,
    with_version,
)
from cbir.text import one_line, redacted

_IMAGE = re.compile("\0([^\0]*)\0([^\0]*)")
"""A name and a version in a folder's text, in which no name can have a zero."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder; `version` as in `Item`."""

    name: str
    is_folder: bool
    version: str = ""


class Tree:
    """The image files of a tree as items: a folder's files, then its folders, both sorted, without hidden names.

    Every folder is listed once, when this is made. What stays is one text for each folder with images: its path, then
    each image's name and version, a few tens of bytes an image.

    A folder that cannot be listed is an item that says so, since its images are not gone.
    """

    def __init__(
        self, where: str, listing: Callable[[str], Iterable[Entry]], reader: Callable[[str], Callable[[], bytes]]
    ):
        """List the tree.

        Args:
            where: What messages and the source's origin call it.
            listing: Returns what is in a folder, "" or a path that ends in a slash.
            reader: Returns what reads the image of a key.

        Raises:
            UsageError: There is no such tree, or no image in it.
            CbirError: The tree itself cannot be listed.
        """
        self._where, self._listing, self._reader = where, listing, reader
        self._folders: list[str] = []
        self._unlisted: dict[str, str] = {}
        self._count = self._other_files = 0
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            waiting += [f"{folder}{name}/" for name in sorted(self._list(folder), reverse=True)]
        if not self._count:
            raise UsageError(f"{where} has no image file ({', '.join(sorted(EXTENSIONS))}) in it or below it")

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        for text in self._folders:
            folder = text[: text.index("\0")]
            if folder in self._unlisted:
                yield Item(folder.rstrip("/"), partial(unusable, self._unlisted[folder]))
            label = folder[:-1].rpartition("/")[2] or None
            for image in _IMAGE.finditer(text, len(folder)):
                key = f"{folder}{image[1]}"
                yield Item(key, self._reader(key), label, None, image[2])

    def source(self, name: str, options: SourceOptions) -> Source:
        """Return what the options choose of the tree, as a source."""
        keep, complete = selection(self, options), is_complete(options)
        items = Items(lambda: map(with_version, keep(self)))
        total = len(self) if complete else count_items(keep(self))
        return Source(
            to_plain(name) or "root",
            to_plain(self._where),
            items,
            total,
            complete=complete,
            unique_keys=True,
            other_files=self._other_files,
        )

    def _list(self, folder: str) -> list[str]:
        """Keep the images of a folder, and return the names of the folders in it."""
        folders: list[str] = []
        images: list[str] = []
        try:
            for entry in self._listing(folder):
                if entry.name.startswith("."):
                    continue
                if entry.is_folder:
                    folders.append(entry.name)
                elif os.path.splitext(entry.name)[1].lower() in EXTENSIONS:  # noqa: PTH122
                    images.append(f"{entry.name}\0{entry.version}")
                else:
                    self._other_files += 1
        except OSError as error:
            reason = f"cannot list this folder: {error.strerror or error_text(error)}"
            if not folder:
                kind = UsageError if isinstance(error, FileNotFoundError) else CbirError
                raise kind(f"{self._where}: {reason}") from None
            self._unlisted[folder] = reason
        if images or folder in self._unlisted:
            self._folders.append("\0".join([folder, *sorted(images), ""]))
            self._count += len(images) + (folder in self._unlisted)
        return folders


def refuse_columns(options: SourceOptions, what: str) -> None:
    """Raise `UsageError` if an option is given that only a source with columns, splits or URLs has a use for."""
    names = ("label", "key", "split", "payload", "filter", "allow_private_addresses", "streaming")
    refuse(options, names, f"{what}, where an image's class is its parent folder")


def error_text(error: Exception) -> str:
    """Return an error's type and text without passwords, for a message."""
    return redacted(one_line(f"{type(error).__name__}: {error}"))[:300]
