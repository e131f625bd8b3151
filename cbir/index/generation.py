"""The generations of an embedded index: each has a manifest, and a pointer names the published one.

A published generation never changes. Readers check the files they open against the manifest, since the engines do not
notice flipped bytes or deleted files.
"""

import hashlib
import json
import logging
import re
import shlex
from collections.abc import Callable, Hashable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from cbir.errors import DamageError, UsageError
from cbir.index import layout
from cbir.index.files import files_below, is_locked, sync, write_atomically
from cbir.index.names import alias_of
from cbir.index.vector_log import VectorLog
from cbir.models.card import ModelRef

T = TypeVar("T")
log = logging.getLogger(__name__)
NUMBER = re.compile(r"^\d{6}$")
_CHECKSUM = "checksum"
_adapter = cache(TypeAdapter)  # making one takes ten times as long as reading a pointer


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
    """The content of a published generation. `ids_sha256` is of the sorted ids; `files` are relative to its folder."""

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


@dataclass(frozen=True)
class Pointer:
    """The content of the pointer file; `published` is the time it was written, "" in files of older versions."""

    generation: Annotated[str, Field(pattern=NUMBER.pattern)]
    manifest_sha256: str
    published: str = ""


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
    """A published generation: its folder and its manifest."""

    folder: Path
    manifest: Manifest

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
        parts = [part] if part else [layout.MODEL, layout.LOG, *self.manifest.engines]
        files = self.manifest.files
        expected = {name: files[name] for name in files if not part or name.split("/")[0] == part}
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
        return found

    def require_intact(self, *parts: str) -> None:
        """Raise `DamageError` with the first damaged file unless all files of these parts are as published."""
        for part in parts:
            if damage := self.damage(part):
                more = f" (and {len(damage) - 1} more)" if len(damage) > 1 else ""
                raise damage_error(f"{damage[0]}{more}; the index is not served", self.folder.parent)

    def log(self) -> VectorLog:
        """Return the generation's vector log; raise `DamageError` if it or its ids differ from the manifest."""
        self.require_intact(layout.LOG)
        log = VectorLog(self.folder / layout.LOG, self.manifest.model.dimension)
        if (len(log), ids_digest(log)) != (self.manifest.count, self.manifest.ids_sha256):
            what = f"{self.folder / layout.LOG} does not hold the {self.manifest.count:,} ids of its manifest"
            raise damage_error(what, self.folder.parent)
        return log


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
    if not (root / collection / layout.POINTER).is_file() and not numbered(root / collection):
        published = ", ".join(collections(root)) or "none yet"
        raise UsageError(f"{root} has no collection {collection!r}; it has: {published}")
    folder = root / collection
    try:
        pointer = load(folder / layout.POINTER, Pointer)
        path = folder / pointer.generation / layout.MANIFEST
        manifest = load(path, Manifest)
        if record_of(path).sha256 != pointer.manifest_sha256:
            raise DamageError(f"{path}, or the pointer {folder / layout.POINTER}, differs from what was published")
    except DamageError as error:
        raise damage_error(str(error), folder) from None
    return Generation(path.parent, manifest)


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


def manifest_of(folder: Path, plan: Plan, engines: dict[str, IndexRecord], log: VectorLog) -> Manifest:
    """Return the manifest of the files in `folder`, which hold the points of `log`."""
    return Manifest(
        collection=plan.collection,
        dataset=plan.dataset,
        source=plan.source,
        model=plan.model,
        count=len(log),
        ids_sha256=ids_digest(log),
        engines=engines,
        files={path.relative_to(folder).as_posix(): record_of(path) for path in files_below(folder)},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        cbir_version=version("cbir"),
    )


def record_of(path: Path) -> FileRecord:
    """Return the size and the SHA-256 of a file."""
    with path.open("rb") as file:
        return FileRecord(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def load(path: Path, kind: type[T]) -> T:
    """Return the dataclass `kind` from a JSON file; raise `DamageError` if the file is missing or damaged.

    Files of older versions have no checksum.
    """
    try:
        data = path.read_bytes()
        content = cast(T, _adapter(cast(Hashable, kind)).validate_json(data))
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not written by cbir"
        raise DamageError(f"{path}: {reason}") from None
    fields = json.loads(data)
    checksum = fields.pop(_CHECKSUM, None)
    if checksum not in (None, hashlib.sha256(_as_json(fields)).hexdigest()):
        raise DamageError(f"{path}: its bytes differ from what was written")
    return content


def save(path: Path, content: Any) -> str:
    """Write a dataclass as JSON with a checksum, atomically; return the SHA-256 of the file."""
    fields = asdict(content)
    data = _as_json({**fields, _CHECKSUM: hashlib.sha256(_as_json(fields)).hexdigest()})
    write_atomically(path, data)
    sync(path.parent)
    return hashlib.sha256(data).hexdigest()


def _as_json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, indent=1, sort_keys=True).encode()


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


def require_same(before: Plan, plan: Plan, name: str, same_source: bool) -> None:
    """Raise `UsageError` if a collection, called `name` in messages, cannot take the images of `plan`."""
    if before.model.sha256 != plan.model.sha256:
        raise UsageError(
            f"{name} was made with the model {before.model.name} ({before.model.sha256[:12]}), not with"
            f" {plan.model.name} ({plan.model.sha256[:12]}). Use another collection, or delete this one."
        )
    if before.source != plan.source and not same_source:
        raise UsageError(
            f"{name} was filled from {before.source}, not from {plan.source}. Use another collection, or name the data"
            f" set {before.dataset} if both sources hold it."
        )
    if before.source != plan.source:
        log.warning("%s was filled from %s: images with the same key are replaced", name, before.source)
    if before.dataset != plan.dataset:
        raise UsageError(f"{name} holds the data set {before.dataset}, not {plan.dataset}. Use another collection.")
