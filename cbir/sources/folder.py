"""Folders of this machine."""

import os
import stat
from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from cbir.records import to_plain
from cbir.sources.base import FileBytes, Source, SourceOptions, is_below
from cbir.sources.tree import Entry, Tree, refuse_columns


def open_folder(text: str, options: SourceOptions) -> Source:
    """Return the source for a folder of this machine.

    Raises:
        UsageError: The folder has no images.
        CbirError: The folder cannot be listed.
    """
    refuse_columns(options, f"a folder ({text})")
    root, only = Path(text).expanduser().resolve(), options.only
    listing = partial(_list_folder, root) if only is None else partial(_list_only, root, only, _by_folder(only))
    tree = Tree(to_plain(str(root)), listing, lambda key: FileBytes(f"{root}/{key}"), may_be_empty=only is not None)
    return replace(tree.source(root.name, options), only=only)


def _list_folder(root: Path, folder: str) -> Iterator[Entry]:
    """Yield the names in a folder. A link to a file counts as a file; a link to a folder is not followed."""
    with os.scandir(f"{root}/{folder}".rstrip("/") or "/") as entries:
        for entry in entries:
            yield Entry(entry.name, entry.is_dir(follow_symlinks=False))


def _by_folder(keys: Set[str]) -> Mapping[str, set[str]]:
    """Return the names on the way to some files and folders, by the folder that they are in."""
    names = defaultdict[str, set[str]](set)
    for key in keys:
        path = PurePosixPath(key)
        for part in [path, *path.parents][:-1]:
            names[f"{part.parent}/".removeprefix("./")].add(part.name)
    return names


def _list_only(root: Path, only: Set[str], names: Mapping[str, set[str]], folder: str) -> Iterator[Entry]:
    """Yield the names in a folder that are in `only`, or on the way to one that is."""
    if folder and is_below(folder.rstrip("/"), only):
        yield from _list_folder(root, folder)
        return
    (root / folder).stat()  # a root that is gone is an error
    for name in names[folder]:
        try:
            mode = (root / folder / name).lstat().st_mode
        except FileNotFoundError:
            continue
        yield Entry(name, stat.S_ISDIR(mode))
