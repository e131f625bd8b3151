"""Files that are there whole or not at all, and on the disk when they are said to be."""

import os
import shutil
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file beside its place, and rename it there when it is on the disk.

    Raises:
        OSError: It cannot be written; what was there before is there still.
    """
    beside = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with beside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink()
        raise


def sync(path: Path) -> None:
    """Return when a file, or a folder's list of entries, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def files_below(folder: Path) -> Iterable[Path]:
    """Return the regular files below a folder, sorted; a folder that is removed meanwhile has none."""
    paths = (Path(parent) / name for parent, _, names in os.walk(folder) for name in names)
    return sorted(path for path in paths if path.is_file())


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def link(source: Path, target: Path) -> None:
    """Make a hard link to a file, or a copy where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def link_tree(source: Path, target: Path) -> None:
    """Make hard links to all files below a folder."""
    for path in files_below(source):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        link(path, place)
