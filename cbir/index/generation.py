"""An embedded index on disk: generations of a collection, a manifest each, one pointer.

A published generation never changes. Readers check what they open against the manifest, since neither engine
notices flipped bytes or deleted files by itself.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Hashable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import numpy as np
from pydantic import TypeAdapter, ValidationError

from cbir.errors import DamageError, UsageError
from cbir.index import layout
from cbir.index.files import files_below, sync, write_atomically
from cbir.index.names import alias_of
from cbir.index.vector_log import VectorLog
from cbir.models.card import ModelRef

T = TypeVar("T")
log = logging.getLogger(__name__)
_adapter = cache(TypeAdapter)  # made once: it takes ten times as long as reading a pointer


@dataclass(frozen=True)
class IndexRecord:
    """One index in a generation: its kind (edge, faiss) and the options it was built with, as given."""

    kind: str
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FileRecord:
    """Size in bytes and SHA-256 of a file."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Plan:
    """What an unfinished generation is going to be; lets the same command go on with it after a crash."""

    collection: str
    dataset: str
    source: str
    model: ModelRef
    base: str | None

    @property
    def alias(self) -> str:
        """See `alias_of`."""
        return alias_of(self.dataset, self.collection)


@dataclass(frozen=True)
class Manifest:
    """What a published generation is. `ids_sha256` digests the sorted ids; `files` are relative to it."""

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
    """Content of the pointer file."""

    generation: str
    manifest_sha256: str


@dataclass(frozen=True)
class Damage:
    """One file that is not what it should be."""

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
        """What a collection with the same content would be planned as, under the name of this one's folder."""
        manifest = self.manifest
        return Plan(self.folder.parent.name, manifest.dataset, manifest.source, manifest.model, None)

    def damage(
        self, part: str = "", *, hashed: bool = True, advance: Callable[[int], None] | None = None
    ) -> list[Damage]:
        """Return what is wrong with the generation's files.

        Args:
            part: Only of those below this folder.
            hashed: False: only which are missing, have another size or should not be there, which reads none of them.
            advance: Told how many bytes each file that was compared should have.
        """
        prefix = f"{part}/" if part else ""
        expected = {name: record for name, record in self.manifest.files.items() if name.startswith(prefix)}
        found = []
        for name, record in expected.items():
            found.append(_compare(self.folder / name, record, hashed))
            if advance:
                advance(record.size)
        extra = [
            Damage(path, "not in the manifest")
            for path in files_below(self.folder / part)
            if path.relative_to(self.folder).as_posix() not in expected and path != self.folder / layout.MANIFEST
        ]
        return [damage for damage in found if damage] + extra

    def require_intact(self, *parts: str) -> None:
        """Raise `DamageError`, naming the first bad file, unless all files of these parts are as published."""
        for part in parts:
            damage = self.damage(part)
            if damage:
                more = f" (and {len(damage) - 1} more)" if len(damage) > 1 else ""
                raise DamageError(
                    f"{damage[0]}{more}; not served. `cbir-ingest verify` names all; run the ingest again to build an"
                    f" index anew from the log, or restore the files"
                )

    def log(self) -> VectorLog:
        """Return the generation's vector log, checked against the manifest.

        Raises:
            DamageError: A file is damaged, or the log does not hold the ids that the manifest counts.
        """
        self.require_intact(layout.LOG)
        log = VectorLog(self.folder / layout.LOG, self.manifest.model.dimension)
        if (len(log), ids_digest(log)) != (self.manifest.count, self.manifest.ids_sha256):
            raise DamageError(
                f"{self.folder / layout.LOG} does not hold the {self.manifest.count:,} ids of its manifest"
            )
        return log


def collections(root: Path) -> list[str]:
    """Return the names of an index folder's published collections, the last published first."""
    pointers = sorted(root.glob(f"*/{layout.POINTER}"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return [path.parent.name for path in pointers]


def open_generation(root: Path, collection: str) -> Generation:
    """Return the published generation of a collection, its manifest checked against the pointer.

    Raises:
        UsageError: The index folder has no such collection.
        DamageError: The pointer or the manifest is damaged.
    """
    pointer = _pointer(root / collection)
    path = root / collection / pointer.generation / layout.MANIFEST
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DamageError(f"{path}: {error.strerror}") from None
    if hashlib.sha256(data).hexdigest() != pointer.manifest_sha256:
        raise DamageError(f"{path}, or the pointer {root / collection / layout.POINTER}: not what was published")
    return Generation(path.parent, load(path, Manifest))


def ids_digest(log: VectorLog) -> str:
    """Return the SHA-256 over a log's sorted ids."""
    return hashlib.sha256(np.sort(log.ids.view("S16")).tobytes()).hexdigest()


def manifest_of(folder: Path, plan: Plan, engines: dict[str, IndexRecord], log: VectorLog) -> Manifest:
    """Return the manifest of what lies in `folder` now, the points of `log` among it."""
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
    """Return size and SHA-256 of a file."""
    with path.open("rb") as file:
        return FileRecord(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def load(path: Path, kind: type[T]) -> T:
    """Return the dataclass `kind` from a JSON file.

    Raises:
        DamageError: It is no such file.
    """
    try:
        return cast(T, _adapter(cast(Hashable, kind)).validate_json(path.read_bytes()))
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a file that cbir wrote"
        raise DamageError(f"{path}: {reason}") from None


def save(path: Path, content: Any) -> str:
    """Write a dataclass as JSON, so that it is there whole or not at all; return its SHA-256."""
    data = json.dumps(asdict(content), indent=1, sort_keys=True).encode()
    write_atomically(path, data)
    sync(path.parent)
    return hashlib.sha256(data).hexdigest()


def _pointer(folder: Path) -> Pointer:
    if not (folder / layout.POINTER).is_file():
        known = ", ".join(collections(folder.parent)) or "none yet"
        raise UsageError(f"{folder.parent} has no collection {folder.name!r}; it has: {known}")
    return load(folder / layout.POINTER, Pointer)


def _compare(path: Path, expected: FileRecord, hashed: bool) -> Damage | None:
    if not path.is_file():
        return Damage(path, "missing")
    size = path.stat().st_size
    if size != expected.size:
        return Damage(path, f"{size:,} bytes, published with {expected.size:,}")
    if hashed and record_of(path).sha256 != expected.sha256:
        return Damage(path, "its bytes are not those that were published")
    return None


class _Filled(Protocol):
    @property
    def dataset(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def model(self) -> ModelRef: ...


def require_same(before: _Filled, plan: Plan, where: str, same_source: bool) -> None:
    """Raise `UsageError` unless an existing collection can take what `plan` brings."""
    if before.model.sha256 != plan.model.sha256:
        raise UsageError(
            f"{where} was made with the model {before.model.name} ({before.model.sha256[:12]}), not with"
            f" {plan.model.name} ({plan.model.sha256[:12]}); name another collection, or delete this one"
        )
    if before.source != plan.source and not same_source:
        raise UsageError(
            f"{where} was filled from {before.source}, not from {plan.source}; name another collection, or say"
            f" --dataset {before.dataset} if both hold the same data set"
        )
    if before.source != plan.source:
        log.warning("%s was filled from %s: what has the same key there and here is replaced", where, before.source)
    if before.dataset != plan.dataset:
        raise UsageError(f"{where} holds the data set {before.dataset}, not {plan.dataset}")
