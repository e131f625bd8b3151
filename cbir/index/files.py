"""Files that are written completely or not at all, and are on the disk when the call returns."""

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Write a temporary file in the same folder, and rename it once it is on the disk. A failure keeps the old file."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise


def sync(path: Path) -> None:
    """Return once a file, or a folder's list of entries, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_locked(path: Path) -> bool:
    """Return True if another process holds the lock file `path`."""
    with suppress(OSError), path.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def files_below(folder: Path) -> Iterable[Path]:
    """Return the regular files below a folder, sorted; none if the folder has been removed."""
    paths = (Path(parent) / name for parent, _, names in os.walk(folder) for name in names)
    return sorted(path for path in paths if path.is_file())


def sizes_below(folder: Path, prefix: str = "") -> dict[str, int]:
    """Return the size of each file below a folder, by its path there. No path object is made for each."""
    found = dict[str, int]()
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                found |= sizes_below(Path(entry.path), f"{prefix}{entry.name}/")
            else:
                found[prefix + entry.name] = entry.stat().st_size
    return found


def link(source: Path, target: Path) -> None:
    """Make a hard link to a file, or a copy if the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def link_tree(source: Path, target: Path) -> None:
    """Link all files below a folder."""
    for path in files_below(source):
        linked = target / path.relative_to(source)
        linked.parent.mkdir(parents=True, exist_ok=True)
        link(path, linked)
