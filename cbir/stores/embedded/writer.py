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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Protocol

from cbir.errors import CbirError, UsageError
from cbir.index.disk import require_room
from cbir.index.files import sync
from cbir.index.generation import (
    BUILDING,
    FORMAT,
    JOURNAL,
    LOCK,
    LOG,
    MANIFEST,
    MARKER,
    MODEL,
    PLAN,
    POINTER,
    Engine,
    Generation,
    Manifest,
    Plan,
    Pointer,
    files_below,
    load,
    manifest_of,
    open_generation,
    record_of,
    save,
)
from cbir.index.stored_ids import Known
from cbir.index.vector_log import LogWriter, VectorLog, compact, regroup, segment_path, segments
from cbir.models.sealed import ModelRef
from cbir.pipeline.journal import Failure
from cbir.records import Payload, Point, changed
from cbir.stores.base import ENGINE_KINDS, Location
from cbir.stores.embedded.build import build_engine

_NUMBER = re.compile(r"\d{6}")
_SEGMENT_BYTES = 256 * 2**20
_MOST_SEGMENTS = 64
_POINTS_AT_ONCE = 1000

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
        anew: Build the indexes at these places again, whether or not anything changed.

    Raises:
        UsageError: The collection was made with another model or from another source, or an engine cannot be
            built as asked. Nothing was changed.
        CbirError: Another ingest is filling the collection.
    """

    def __init__(self, places: Sequence[Location], plan: Plan, model_file: Path, same_source: bool, anew: bool = False):
        self._root = places[0].root
        self._folder = self._root / plan.collection
        self._building = self._folder / BUILDING
        self.name = str(self._folder)
        self.journal_path = self._folder / JOURNAL
        self._anew = {place.name for place in places} if anew else set[str]()
        self._model_file = model_file
        self._writer: LogWriter | None = None
        for place in places:
            kind = ENGINE_KINDS[place.url.kind]
            kind.load().check_options({**kind.options, **place.url.options}, plan.model.dimension)
        self._lock = self._locked()
        try:
            self._published = self._open_published(plan)
            plan_file = self._folder / PLAN
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
        self.resumed = max(0, len(self.known) - (self._published.manifest.count if self._published else 0))

    @property
    def needs_publishing(self) -> bool:
        """True if something was written, or an index is missing, damaged or was asked for with other options."""
        if self._wrote or self._published is None:
            return self._wrote
        if self._anew:
            return True
        if self._engines != self._published.manifest.engines:
            return True
        return any(self._published.damage(name) for name in self._engines)

    def write(self, points: Sequence[Point]) -> list[Failure]:
        """Append points to the log; they are kept whatever becomes of this process."""
        if points:
            self._log_writer().append(points)
            self._wrote = True
        return []

    def delete(self, ids: Sequence[str]) -> None:
        """Note in the log that these points are gone."""
        if ids:
            self._log_writer().delete(ids)
            self._wrote = True

    def update(self, ids: Sequence[str], changes: Payload) -> None:
        """Append the points with these ids with payload fields changed."""
        log = self._log()
        positions = [position for one in ids if log and (position := log.position(one)) is not None]
        while log and positions:
            points = [log.point(position) for position in positions[:_POINTS_AT_ONCE]]
            self.write([changed(point, changes) for point in points])
            del positions[:_POINTS_AT_ONCE]

    def described(self) -> Iterator[tuple[str, Payload]]:
        """Yield (id, payload) of every point known when the run began."""
        log = self._log()
        return log.described() if log else iter(())

    def thumbnails(self) -> Iterator[tuple[str, bytes]]:
        """Yield (key, thumbnail) of every point known when the run began."""
        log = self._log()
        return ((str(log.payload(at)["key"]), log.thumbnail(at)) for at in range(len(log))) if log else iter(())

    def require_room(self, fresh: int) -> None:
        """Raise `DiskFullError` if the disk cannot take so many more points."""
        require_room(self._folder, fresh, len(self.known) + fresh, self._plan.model.dimension, self._engines)

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
        self._log_writer()
        self._close_segment()
        for half_written in (self._building / LOG).glob("*.tmp"):
            half_written.unlink()
        points = VectorLog(self._building / LOG, self._plan.model.dimension)
        if points.dead > len(points) or len(segments(self._building / LOG)) > _MOST_SEGMENTS:
            compact(self._building / LOG, points.dimension)
            points = VectorLog(self._building / LOG, points.dimension)
        for name, engine in self._engines.items():
            shutil.rmtree(self._building / name, ignore_errors=True)
            if self._is_as_published(name):
                _link_tree(self._published_folder / name, self._building / name)
                continue
            advance = progress(name, len(points))
            options = {**ENGINE_KINDS[engine.kind].options, **engine.options}
            build_engine(engine.kind, self._building / name, self._building / LOG, points.dimension, options, advance)
        for stray in self._building.iterdir():  # a manifest that a crash left, an index that nobody asks for now
            if stray.name not in {LOG, MODEL, *self._engines}:
                _remove(stray)
        manifest = manifest_of(self._building, self._plan, self._engines, points)
        for path in [*files_below(self._building), *self._building.rglob("*/")]:
            sync(path)
        manifest_sha256 = save(self._building / MANIFEST, manifest)
        number = int(self._plan.base or 0) + 1
        folder = self._folder / f"{number:06d}"
        self._building.rename(folder)
        sync(self._folder)
        self._point_to(folder.name, manifest_sha256)
        (self._folder / PLAN).unlink()
        self._remove_older_than(number - 1)
        self._published = open_generation(self._root, self._plan.collection)
        return self._published

    def close(self) -> None:
        """Flush what was written and let the next ingest in."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._lock.close()

    @property
    def _published_folder(self) -> Path:
        return self._folder / str(self._plan.base)

    def _is_as_published(self, name: str) -> bool:
        """Return True if an index would be built of the same points in the same way as the published one."""
        return (
            not self._wrote
            and self._published is not None
            and name not in self._anew
            and self._published.manifest.engines.get(name) == self._engines[name]
            and not self._published.damage(name)
        )

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

    def _known(self, resume: bool) -> Known:
        if self._published:
            self._published.log()  # checked: whatever is built goes on from it
        if not resume and self._building.exists():  # begun on another base, or the crash came before there was a plan
            shutil.rmtree(self._building)
        log = self._log()
        return log.known() if log else Known.of(())

    def _log(self) -> VectorLog | None:
        """Return what there is to go on with: the log of `building/`, or the published one."""
        for folder in (self._building, self._published.folder if self._published else None):
            if folder is not None and folder.is_dir():
                return VectorLog(folder / LOG, self._plan.model.dimension)
        return None

    def _log_writer(self) -> LogWriter:
        """Return the writer; the first call makes `building/` if there is none to go on with."""
        if self._writer is not None and self._writer.size >= _SEGMENT_BYTES:
            self._close_segment()
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
                save(self._folder / PLAN, self._plan)  # last: without it the folder is begun anew
            last = max([0, *(int(segment.stem) for segment in segments(self._building / LOG))])
            own = segment_path(self._building / LOG, last)
            if last == 0 or own.name in {segment.name for segment in inherited} or own.stat().st_size >= _SEGMENT_BYTES:
                own = segment_path(self._building / LOG, last + 1)
            self._writer = LogWriter(own, self._plan.model.dimension)
        return self._writer

    def _close_segment(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()
            regroup(writer.segment, self._plan.model.dimension)

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


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _link_tree(source: Path, target: Path) -> None:
    for path in files_below(source):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        _link(path, place)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
