"""Folders of this machine."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from cbir.records import to_plain
from cbir.sources.base import FileBytes, Source, SourceOptions
from cbir.sources.tree import Entry, Tree, refuse_columns


def open_folder(text: str, options: SourceOptions) -> Source:
    """Return the source for a folder of this machine.

    Raises:
        UsageError: The folder has no images.
        CbirError: The folder cannot be listed.
    """
    refuse_columns(options, f"a folder ({text})")
    root = Path(text).expanduser().resolve()
    tree = Tree(to_plain(str(root)), partial(_list_folder, root), lambda key: FileBytes(f"{root}/{key}"))
    return tree.source(root.name, options)


def _list_folder(root: Path, folder: str) -> Iterator[Entry]:
    """Yield the names in a folder. A link to a file counts as a file; a link to a folder is not followed."""
    with os.scandir(f"{root}/{folder}".rstrip("/") or "/") as entries:
        for entry in entries:
            yield Entry(entry.name, entry.is_dir(follow_symlinks=False))
