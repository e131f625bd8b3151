"""The generations of an embedded index: each has a manifest, and a pointer names the published one and its tail.

A published generation never changes. Changes after that are segments of the log in the folder `tail`, which the pointer
names. Readers check the files they open against manifest and pointer, since the engines do not notice flipped bytes or
deleted files.
"""

import hashlib
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
from pydantic import Field

from cbir.errors import CbirError, DamageError, UsageError
from cbir.index import layout
from cbir.index.files import files_below, is_locked, sizes_below
from cbir.index.json_file import load
from cbir.index.live_log import LiveLog
from cbir.index.names import alias_of, is_collection
from cbir.index.vector_log import Segment, VectorLog, open_segment
from cbir.models.card import ModelRef

T = TypeVar("T")
NUMBER = re.compile(r"^\d{6}$")


@dataclass(frozen=True)
class IndexRecord:
    """An index in a generation: its kind (edge, faiss) and the options that it was built with."""

    kind: str
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FileRecord:
    """The size in bytes and the SHA-256 of a file."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Plan:
    """The content of the next generation, by which the same command continues it after a crash.

    The file stays when it is published: `cbir.index.repair` reads it if the manifest is damaged.
    """

    collection: str
    dataset: str
    source: str
    model: ModelRef
    base: str | None
    engines: dict[str, IndexRecord] = field(default_factory=dict)

    @property
    def alias(self) -> str:
        """See `alias_of`."""
        return alias_of(self.dataset, self.collection)


@dataclass(frozen=True)
class Manifest:
    """The content of a published generation. `ids_sha256` is of the sorted ids; `files` are relative to its folder.

    `merged` are the segments of the tail of the generation `merged_from` that its log includes.
    """

    collection: str
    dataset: str
    source: str
    model: ModelRef
    count: int
    ids_sha256: str
    engines: dict[str, IndexRecord]
    files: dict[str, FileRecord]
    created: str
    cbir_version: str
    format: int = layout.FORMAT
    merged_from: str = ""
    merged: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pointer:
    """The content of the pointer file, which is replaced by each change.

    Attributes:
        generation: The published generation.
        manifest_sha256: The SHA-256 of its manifest.
        published: When the content was last changed or chosen, "" in files of older versions.
        tail: The segments of the log that came after the generation, by name, in order.
        commit: The number of the last segment that was published, which counts up, 0 in files of older versions.
        count: The number of points, None for that of the manifest.
    """

    generation: Annotated[str, Field(pattern=NUMBER.pattern)]
    manifest_sha256: str
    published: str = ""
    tail: dict[str, FileRecord] = field(default_factory=dict)
    commit: int = 0
    count: int | None = None


@dataclass(frozen=True)
class Marker:
    """The content of the file that marks an index folder."""

    format: int = layout.FORMAT


@dataclass(frozen=True)
class Damage:
    """A file that differs from the manifest, and how."""

    path: Path
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


@dataclass(frozen=True)
class Generation:
    """A published generation: its folder, its manifest, and what the pointer adds to that."""

    folder: Path
    manifest: Manifest
    tail: dict[str, FileRecord] = field(default_factory=dict)
    commit: int = 0
    count: int = 0

    @property
    def plan(self) -> Plan:
        """The plan of a collection with the same content, under the name of this generation's collection folder."""
        manifest = self.manifest
        name = self.folder.parent.name
        return Plan(name, manifest.dataset, manifest.source, manifest.model, None, manifest.engines)

    def damage(
        self, part: str = "", *, hashed: bool = True, advance: Callable[[int], None] | None = None
    ) -> list[Damage]:
        """Return the files below the folder `part`, or the file `part`, that differ from the manifest.

        Without `hashed`, only missing, additional and resized files are found, and nothing is read. `advance` is called
        with the size of each file once it is checked.
        """
        if part == layout.TAIL:
            return self._tail_damage(hashed)
        parts = [part] if part else [layout.MODEL, layout.LOG, *self.manifest.engines]
        files = self.manifest.files
        expected = {name: files[name] for name in files if not part or name.split("/")[0] == part}
        if expected and part and not hashed and sizes_below(self.folder / part) == _sizes(expected):
            return []
        present = {name.split("/")[0] for name in expected}
        found = [Damage(self.folder / name, "missing") for name in parts if name not in present]
        for name, record in expected.items():
            if difference := _difference(self.folder / name, record, hashed):
                found.append(Damage(self.folder / name, difference))
            if advance:
                advance(record.size)
        for path in files_below(self.folder / part):
            if path.relative_to(self.folder).as_posix() not in {*expected, layout.MANIFEST}:
                found.append(Damage(path, "not in the manifest"))
        return found if part else found + self._tail_damage(hashed)

    def _tail_damage(self, hashed: bool) -> list[Damage]:
        paths = ((self.tail_folder / name, record) for name, record in self.tail.items())
        compared = ((path, _difference(path, record, hashed)) for path, record in paths)
        return [Damage(path, difference) for path, difference in compared if difference]

    @property
    def tail_folder(self) -> Path:
        """The folder of the tail's segments."""
        return self.folder.parent / layout.TAIL

    @property
    def log_names(self) -> list[str]:
        """The segments of the generation's log."""
        return [Path(name).name for name in self.manifest.files if name.startswith(f"{layout.LOG}/")]

    def log_files(self) -> list[Path]:
        """Return all segments of the log in order: the generation's, and those of the tail."""
        own = (self.folder / layout.LOG / name for name in sorted(self.log_names))
        return [*own, *(self.tail_folder / name for name in self.tail)]

    def require_intact(self, *parts: str, hashed: bool = True) -> None:
        """Raise `DamageError` with the first damaged file unless all files of these parts are as published."""
        for part in parts:
            if damage := self.damage(part, hashed=hashed):
                more = f" (and {len(damage) - 1} more)" if len(damage) > 1 else ""
                raise damage_error(f"{damage[0]}{more}; the index is not served", self.folder.parent)

    def log(self, checked: bool = True) -> LiveLog:
        """Return the points; raise `DamageError` if the log differs from what was published.

        Unless it is `checked`, the checksums of its frames are compared instead of those of its files.
        """
        self.require_intact(layout.LOG, hashed=checked)
        base = VectorLog(self.folder / layout.LOG, self.manifest.model.dimension)
        found = (all(segment.is_complete for segment in base.segments), len(base), ids_digest(base))
        if found != (True, self.manifest.count, self.manifest.ids_sha256):
            what = f"{self.folder / layout.LOG} does not hold the {self.manifest.count:,} points of its manifest"
            raise damage_error(what, self.folder.parent)
        return LiveLog(base, self.tail_segments(self.tail))

    def tail_segments(self, names: Iterable[str]) -> list[Segment]:
        """Open segments of the tail; raise `DamageError` if one differs from what was published.

        One that was merged into the log of this generation is taken from there.
        """
        opened = []
        for name in names:
            merged = name not in self.tail
            path = (self.folder / layout.LOG if merged else self.tail_folder) / name
            record = self.manifest.files[f"{layout.LOG}/{name}"] if merged else self.tail[name]
            if difference := _difference(path, record, hashed=True):
                raise damage_error(f"{path}: {difference}; the index is not served", self.folder.parent)
            opened.append(open_segment(path, self.manifest.model.dimension))
        return opened


def collections(root: Path) -> list[str]:
    """Return the names of an index folder's published collections, the latest first.

    A damaged one counts as the latest, so that no other is opened instead without a word. One that another process is
    publishing or dropping has no pointer for a moment, and is left out.
    """
    folders = {path.parent for path in root.glob("*/*") if path.name == layout.POINTER or NUMBER.fullmatch(path.name)}
    kept = (path for path in folders if (path / layout.POINTER).is_file() or not is_locked(path / layout.LOCK))
    return [folder.name for folder in sorted(kept, key=_published, reverse=True)]


def _published(folder: Path) -> tuple[bool, str, str]:
    try:
        pointer = load(folder / layout.POINTER, Pointer)
        written = datetime.fromtimestamp((folder / layout.POINTER).stat().st_mtime, UTC)
    except (DamageError, OSError):
        return True, "", folder.name
    return False, pointer.published or written.isoformat(timespec="microseconds"), folder.name


def open_generation(root: Path, collection: str) -> Generation:
    """Return the published generation of a collection, its manifest checked against the pointer.

    Raises `UsageError` if there is no such collection, and `DamageError` if the pointer or the manifest is damaged.
    """
    folder = root / collection
    if not is_collection(collection) or not ((folder / layout.POINTER).is_file() or numbered(folder)):
        published = ", ".join(collections(root)) or "none yet"
        raise UsageError(f"{root} has no collection {collection!r}; it has: {published}")
    try:
        pointer = load(folder / layout.POINTER, Pointer)
        while True:
            try:
                return _pointed(folder, pointer)
            except DamageError:
                before, pointer = pointer, load(folder / layout.POINTER, Pointer)
                if pointer == before:
                    raise  # otherwise, another process has published, and removed that generation
    except DamageError as error:
        raise damage_error(str(error), folder) from None


def _pointed(folder: Path, pointer: Pointer) -> Generation:
    path = folder / pointer.generation / layout.MANIFEST
    manifest = load(path, Manifest)
    try:
        if record_of(path).sha256 == pointer.manifest_sha256:
            return as_published(path.parent, manifest, pointer)
    except OSError as error:
        raise DamageError(f"{path}: {error.strerror}") from None
    raise DamageError(f"{path}, or the pointer {folder / layout.POINTER}, differs from what was published")


def with_published(root: Path, collection: str, use: Callable[[Generation], T]) -> T:
    """Return what `use` makes of the published generation; it is called again if files vanish since another is there.

    Readers have no lock: another process may publish, and remove what the pointer named.
    """
    while True:
        generation = open_generation(root, collection)
        try:
            return use(generation)
        except (CbirError, OSError):
            if open_generation(root, collection) == generation:
                raise


def as_published(folder: Path, manifest: Manifest, pointer: Pointer) -> Generation:
    """Return the generation in a folder, with what its pointer says."""
    count = manifest.count if pointer.count is None else pointer.count
    numbers = [int(Path(name).stem) for name in Generation(folder, manifest).log_names]
    return Generation(folder, manifest, pointer.tail, max([pointer.commit, *numbers]), count)


def damage_error(what: str, folder: Path) -> DamageError:
    """Return the error for damage in a collection's folder, with the command that helps."""
    command = shlex.join(["cbir-ingest", "collections", "repair", folder.name, "--store", f"edge:{folder.parent}"])
    return DamageError(f"{what}. Repair it with: {command}")


def manifest_in(folder: Path) -> Manifest | None:
    """Return the manifest of a generation, not compared with the pointer; None if it is missing or damaged."""
    try:
        return load(folder / layout.MANIFEST, Manifest)
    except DamageError:
        return None


def numbered(folder: Path) -> list[Path]:
    """Return the generations in a collection's folder, published or not, the latest first."""
    return sorted((path for path in folder.glob("*/") if NUMBER.fullmatch(path.name)), reverse=True)


def ids_digest(log: VectorLog) -> str:
    """Return the SHA-256 of a log's sorted ids."""
    return hashlib.sha256(np.sort(log.ids.view("S16")).tobytes()).hexdigest()


def record_of(path: Path) -> FileRecord:
    """Return the size and the SHA-256 of a file."""
    with path.open("rb") as file:
        return FileRecord(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def _sizes(files: Mapping[str, FileRecord]) -> dict[str, int]:
    return {name.partition("/")[2]: record.size for name, record in files.items()}


def _difference(path: Path, expected: FileRecord, hashed: bool) -> str | None:
    try:
        if not path.is_file():
            return "missing"
        size = path.stat().st_size
        if size != expected.size:
            return f"has {size:,} bytes instead of {expected.size:,}"
        if hashed and record_of(path).sha256 != expected.sha256:
            return "its bytes differ from what was published"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None
