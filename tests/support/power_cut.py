"""A recorder of syncs and changes of a folder, which replays what a power cut leaves at each point.

Two file systems are replayed. Both lose what was written to a file since its last sync:

- a strict one also loses every change of a folder (new, renamed and removed entries) since the folder's last sync;
- an eager one keeps every such change at once, so that a renamed file may be there without its bytes.
"""

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

FileSystem = Literal["strict", "eager"]
CHANGES = ("rename", "replace", "link", "unlink", "mkdir", "rmdir")

Entries = dict[int, dict[str, int]]
"""For each folder the numbers of its entries by name."""


@dataclass(frozen=True)
class Moment:
    """What was on the disk after an operation, and what the program had promised by then.

    Attributes:
        root: The number of the recorded folder; every file and folder has one.
        strict: The entries of the folders as they were synced.
        eager: The entries of the folders as they were.
        contents: The bytes of the files as they were synced.
        folders: The numbers of all folders that there ever were.
        promised: Whatever the test noted last.
    """

    operation: str
    root: int
    strict: Entries
    eager: Entries
    contents: dict[int, bytes]
    folders: frozenset[int]
    promised: Any

    def replay(self, target: Path, file_system: FileSystem) -> None:
        """Make the folder `target` what a power cut leaves."""
        shutil.rmtree(target, ignore_errors=True)
        self._replay(self.root, target, self.strict if file_system == "strict" else self.eager)

    def _replay(self, folder: int, target: Path, entries: Entries) -> None:
        target.mkdir()
        for name, number in entries.get(folder, {}).items():
            if number in self.folders:
                self._replay(number, target / name, entries)
            else:
                (target / name).write_bytes(self.contents.get(number, b""))


@dataclass
class Recorder:
    """Records a folder. Files of the names in `durable` count as synced at any time.

    Files are told apart by their inodes, which are used again only after a change that is recorded.
    """

    folder: Path
    durable: tuple[str, ...] = ()
    promised: Any = None
    moments: list[Moment] = field(default_factory=list)
    _strict: Entries = field(default_factory=dict)
    _contents: dict[int, bytes] = field(default_factory=dict)
    _numbers: dict[int, int] = field(default_factory=dict)
    _folders: frozenset[int] = frozenset()
    _last: int = 0

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record what this process does."""
        with pytest.MonkeyPatch.context() as patch:
            for name in (*CHANGES, "fsync"):
                patch.setattr(os, name, self._recorded(name, getattr(os, name)))
            self._note("start")
            yield
            self._note("end")

    def _recorded(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(*arguments: Any, **options: Any) -> Any:
            if name == "fsync":  # what counts as synced at any time may have changed
                self._note(f"before {name}")
            result = function(*arguments, **options)
            if name != "fsync":
                self._note(f"{name} {arguments[0]}")
            else:
                path = Path(f"/proc/self/fd/{arguments[0]}").readlink()
                self._note(f"fsync {path}", os.fstat(arguments[0]).st_ino)
            return result

        return recorded

    def _note(self, operation: str, synced: int = 0) -> None:
        paths = {path: path.lstat() for path in [self.folder, *self.folder.rglob("*")]}
        inodes = {status.st_ino for status in paths.values()}
        self._numbers = {inode: number for inode, number in self._numbers.items() if inode in inodes}
        eager: Entries = {}
        for path, status in paths.items():
            if status.st_ino not in self._numbers:
                self._last += 1
                self._numbers[status.st_ino] = self._last
            number = self._numbers[status.st_ino]
            if path != self.folder:
                eager[self._numbers[paths[path.parent].st_ino]][path.name] = number
            if stat.S_ISDIR(status.st_mode):
                eager[number] = {}
            elif status.st_ino == synced or path.name.startswith(self.durable):
                self._contents[number] = path.read_bytes()
        number = self._numbers.get(synced, 0)
        if number in eager:
            self._strict[number] = dict(eager[number])
        root, self._folders = self._numbers[paths[self.folder].st_ino], self._folders | eager.keys()
        strict = {folder: dict(entries) for folder, entries in self._strict.items()}
        self.moments.append(Moment(operation, root, strict, eager, dict(self._contents), self._folders, self.promised))
