"""Folder trees, local or in a bucket. Each folder is listed once, and the class of an image is its parent folder."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from cbir.errors import CbirError, UsageError
from cbir.images.decode import EXTENSIONS
from cbir.records import Item, to_plain
from cbir.sources.base import Source, SourceOptions, choose, refuse, unusable
from cbir.text import one_line, redacted

_IMAGE = re.compile("\0([^\0]*)\0([^\0]*)")
"""A name and a version in the text of a folder. No name can contain a zero."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder, with the version of its file as in `Item`."""

    name: str
    is_folder: bool
    version: str = ""


class Tree:
    """The image files of a tree as items: the files of a folder, then its folders, sorted and without hidden names.

    Every folder is listed once, when the tree is made. It keeps a text for each folder with images: the folder's path,
    then name and version of each image, which takes a few tens of bytes for each.

    A folder that cannot be listed becomes an item that cannot be read, since its images may still exist.
    """

    def __init__(
        self,
        address: str,
        listing: Callable[[str], Iterable[Entry]],
        reader: Callable[[str], Callable[[], bytes]],
        *,
        may_be_empty: bool = False,
    ):
        """List the tree.

        `listing` returns the names in a folder, which is "" or a path that ends in a slash, and `reader` the `read`
        function of the item with a key.

        Raises:
            UsageError: There is no such tree, or it has no images, though it may not be empty.
            CbirError: The tree cannot be listed.
        """
        self._address, self._listing, self._reader = address, listing, reader
        self._folders: list[str] = []
        self._unlisted: dict[str, str] = {}
        self._count = self._other_files = 0
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            waiting += [f"{folder}{name}/" for name in sorted(self._list(folder), reverse=True)]
        if not self._count and not may_be_empty:
            others = f", but {self._other_files:,} other files" if self._other_files else ""
            raise UsageError(f"{address} has no image files ({', '.join(sorted(EXTENSIONS))}){others}")

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        for text in self._folders:
            folder = text[: text.index("\0")]
            if folder in self._unlisted:
                yield Item(folder.rstrip("/"), partial(unusable, self._unlisted[folder]))
            label = parent_folder(folder)
            for image in _IMAGE.finditer(text, len(folder)):
                key = f"{folder}{image[1]}"
                yield Item(key, self._reader(key), label, None, image[2])

    def source(self, name: str, options: SourceOptions) -> Source:
        """Return a source with the images that the options choose."""
        name, origin = to_plain(name) or "root", to_plain(self._address)
        every = Source(
            name,
            origin,
            self,
            self._count,
            complete=True,
            unique_keys=True,
            other_files=self._other_files,
            label_of=parent_folder,
        )
        return choose(every, options, self)

    def _list(self, folder: str) -> list[str]:
        """Keep the images of a folder, and return the names of its folders."""
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
                raise kind(f"{self._address}: {reason}") from None
            self._unlisted[folder] = reason
        if images or folder in self._unlisted:
            self._folders.append("\0".join([folder, *sorted(images), ""]))
            self._count += len(images) + (folder in self._unlisted)
        return folders


def parent_folder(key: str) -> str | None:
    """Return the name of the folder that an image with this key is in, None for the root."""
    return key.rpartition("/")[0].rpartition("/")[2] or None


def refuse_columns(options: SourceOptions, what: str) -> None:
    """Raise `UsageError` if an option is given that needs columns, splits or URLs."""
    names = ("label", "key", "split", "payload", "filter", "allow_private_addresses", "streaming")
    refuse(options, names, f"{what}. The class of an image is its parent folder.")


def error_text(error: Exception) -> str:
    """Return the type and text of an error for a message, without passwords."""
    return redacted(one_line(f"{type(error).__name__}: {error}"))[:300]
