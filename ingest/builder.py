"""Builds and publishes the next generation of one collection in one index folder.

What is embedded goes into the vector log of `building/` first, where a crash or Ctrl-C cannot lose it. At the end
the engines are built from the log, everything is hashed into the manifest, the folder is renamed to its number
and the pointer is moved. A crash between any two of these steps leaves the old generation served, and the same
command goes on from there.
"""

import fcntl
import logging
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Protocol

import cbir
from cbir.errors import CbirError, UsageError
from cbir.generation import (
    BUILDING,
    FORMAT,
    LOCK,
    LOG,
    MANIFEST,
    MARKER,
    MODEL,
    POINTER,
    Engine,
    Generation,
    Manifest,
    Plan,
    Pointer,
    files_below,
    ids_digest,
    load,
    open_generation,
    record_of,
    save,
    sync,
)
from cbir.model import ModelRef
from cbir.records import Point
from cbir.stores import ENGINE_KINDS, Location
from cbir.vector_log import LogWriter, VectorLog, segment_path, segments

from .engines import build_engine

_PLAN = "building.json"
_NUMBER = re.compile(r"\d{6}")

Advance = Callable[[int], None]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Marker:
    format: int


class IndexBuilder:
    """The next generation of one collection, under the folder's lock.

    Args:
        places: The stores in this one index folder.
        plan: What the collection is to hold; its `base` is found here.
        model_file: The model that makes the vectors; the generation keeps a copy.
        same_source: True if another origin than before is known to hold the same data set.

    Raises:
        UsageError: The collection was made with another model or from another source, or an engine cannot be
            built as asked. Nothing was changed.
        CbirError: Another ingest is filling the collection.
    """

    def __init__(self, places: Sequence[Location], plan: Plan, model_file: Path, same_source: bool):
        self._root = places[0].root
        self._folder = self._root / plan.collection
        self._building = self._folder / BUILDING
        self._model_file = model_file
        self._writer: LogWriter | None = None
        for place in places:
            kind = ENGINE_KINDS[place.url.kind]
            kind.load().check_options({**kind.options, **place.url.options}, plan.model.dimension)
        self._lock = self._locked()
        try:
            self._published = self._open_published(plan)
            plan_file = self._folder / _PLAN
            unfinished = load(plan_file, Plan) if plan_file.is_file() and self._building.is_dir() else None
            for before in (self._published.manifest if self._published else None, unfinished):
                if before is not None:
                    require_same(before, plan, str(self._folder), same_source)
            self._engines = self._merged_engines(places)
            self._plan = replace(plan, base=self._published.folder.name if self._published else None)
            self._wrote = unfinished is not None and unfinished.base == self._plan.base
            self.known = self._known(resume=self._wrote)
        except BaseException:
            self._lock.close()
            raise
        self.resumed = len(self.known) - (self._published.manifest.count if self._published else 0)

    @property
    def needs_publishing(self) -> bool:
        """True if something was written, or an index is missing, damaged or was asked for with other options."""
        if self._wrote or self._published is None:
            return self._wrote
        if self._engines != self._published.manifest.engines:
            return True
        return any(self._published.damage(name) for name in self._engines)

    def write(self, points: Sequence[Point]) -> None:
        """Append points to the log; they are kept whatever becomes of this process."""
        if points:
            self._log_writer().append(points)
            self._wrote = True

    def flush(self) -> None:
        """Return when all that was written is on the disk."""
        if self._writer is not None:
            self._writer.flush()

    def publish(self, progress: Callable[[str, int], "Advance"]) -> Generation:
        """Build the engines, seal and publish the generation; return it.

        Args:
            progress: Called with an engine's name and the number of points, returns the function that advances.

        Raises:
            CbirError: An engine could not be built; what was published before is still served.
        """
        self._log_writer().close()
        self._writer = None
        points = VectorLog(self._building / LOG, self._plan.model.dimension)
        for name, engine in self._engines.items():
            shutil.rmtree(self._building / name, ignore_errors=True)
            advance = progress(name, len(points))
            options = {**ENGINE_KINDS[engine.kind].options, **engine.options}
            build_engine(engine.kind, self._building / name, self._building / LOG, points.dimension, options, advance)
        for stray in self._building.iterdir():  # a manifest that a crash left, an index that nobody asks for now
            if stray.name not in {LOG, MODEL, *self._engines}:
                _remove(stray)
        manifest = Manifest(
            collection=self._plan.collection,
            dataset=self._plan.dataset,
            source=self._plan.source,
            model=self._plan.model,
            count=len(points),
            ids_sha256=ids_digest(points),
            engines=self._engines,
            files={
                path.relative_to(self._building).as_posix(): record_of(path) for path in files_below(self._building)
            },
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            cbir_version=cbir.__version__,
        )
        for path in [*files_below(self._building), *self._building.rglob("*/")]:
            sync(path)
        manifest_sha256 = save(self._building / MANIFEST, manifest)
        number = int(self._plan.base or 0) + 1
        folder = self._folder / f"{number:06d}"
        self._building.rename(folder)
        sync(self._folder)
        self._point_to(folder.name, manifest_sha256)
        (self._folder / _PLAN).unlink()
        self._remove_older_than(number - 1)
        self._published = open_generation(self._root, self._plan.collection)
        return self._published

    def close(self) -> None:
        """Flush what was written and let the next ingest in."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._lock.close()

    def _open_published(self, plan: Plan) -> Generation | None:
        """Return what is published, after publishing what a crash left complete but for the pointer."""
        pointer = self._folder / POINTER
        base = int(load(pointer, Pointer).generation) if pointer.is_file() else 0
        complete = self._folder / f"{base + 1:06d}"
        if (complete / MANIFEST).is_file():
            if Generation(complete, load(complete / MANIFEST, Manifest)).damage():
                shutil.rmtree(complete)
            else:
                self._point_to(complete.name, record_of(complete / MANIFEST).sha256)
        return open_generation(self._root, plan.collection) if pointer.is_file() else None

    def _merged_engines(self, places: Sequence[Location]) -> dict[str, Engine]:
        """Return the engines to build: those there are, and those asked for with their options, if any were given."""
        engines = dict(self._published.manifest.engines) if self._published else {}
        for place in places:
            build_options = ENGINE_KINDS[place.url.kind].build_options
            asked = {key: value for key, value in place.url.options.items() if key in build_options}
            before = engines.get(place.name)
            if before is not None and before.kind != place.url.kind:
                raise UsageError(
                    f"the index {place.name!r} of {self._folder} is of kind {before.kind}, not {place.url.kind}"
                )
            engines[place.name] = Engine(place.url.kind, {**(before.options if before else {}), **asked})
        return engines

    def _locked(self) -> IO[bytes]:
        self._folder.mkdir(parents=True, exist_ok=True)
        if not (self._root / MARKER).exists():
            save(self._root / MARKER, _Marker(FORMAT))
        lock = (self._folder / LOCK).open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise CbirError(
                f"another ingest is filling {self._folder}; wait for it, or name another --collection"
            ) from None
        return lock

    def _known(self, resume: bool) -> Mapping[str, tuple[str, str]]:
        if resume:
            return VectorLog(self._building / LOG, self._plan.model.dimension).known()
        if self._building.exists():  # begun on another base, or the crash came before there was a plan
            shutil.rmtree(self._building)
        return self._published.log().known() if self._published else {}

    def _log_writer(self) -> LogWriter:
        """Return the writer; the first call makes `building/` if there is none to go on with."""
        if self._writer is None:
            inherited = segments(self._published.folder / LOG) if self._published else []
            if not self._building.exists():
                (self._building / LOG).mkdir(parents=True)
                for segment in inherited:
                    _link(segment, self._building / LOG / segment.name)
                if self._published:
                    _link(self._published.folder / MODEL, self._building / MODEL)
                else:
                    shutil.copyfile(self._model_file, self._building / MODEL)  # the user's file may change
                save(self._folder / _PLAN, self._plan)  # last: without it the folder is begun anew
            own = segment_path(self._building / LOG, len(inherited) + 1)
            self._writer = LogWriter(own, self._plan.model.dimension)
        return self._writer

    def _point_to(self, generation: str, manifest_sha256: str) -> None:
        save(self._folder / POINTER, Pointer(generation, manifest_sha256))

    def _remove_older_than(self, number: int) -> None:
        """Remove generations before the previous one; a reader that opened one keeps its files by their links."""
        for folder in self._folder.iterdir():
            if _NUMBER.fullmatch(folder.name) and int(folder.name) < number:
                shutil.rmtree(folder)


class _Filled(Protocol):
    @property
    def dataset(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def model(self) -> ModelRef: ...


def require_same(before: _Filled, plan: Plan, where: str, same_source: bool) -> None:
    """Raise `UsageError` unless a collection that is there already can take what `plan` brings."""
    if before.model.sha256 != plan.model.sha256:
        raise UsageError(
            f"{where} was made with the model {before.model.name} ({before.model.sha256[:12]}), not with"
            f" {plan.model.name} ({plan.model.sha256[:12]}); name another --collection, or delete this one"
        )
    if before.source != plan.source and not same_source:
        raise UsageError(
            f"{where} was filled from {before.source}, not from {plan.source}; name another --collection, or say"
            f" --dataset {before.dataset} if both hold the same data set"
        )
    if before.source != plan.source:
        log.warning("%s was filled from %s: what has the same key there and here is replaced", where, before.source)
    if before.dataset != plan.dataset:
        raise UsageError(f"{where} holds the data set {before.dataset}, not {plan.dataset}")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
