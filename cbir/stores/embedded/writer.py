"""Fills and publishes the next generation of one collection in one index folder.

Points go into the vector log in `building/` first, where a crash or Ctrl-C cannot lose them. At the end the engines are
built from the log, every file is hashed into the manifest, the folder is renamed to its number, and the pointer is
moved. After a crash between two of these steps the old generation is still served, and the same command continues.
"""

import fcntl
import logging
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from cbir.errors import CbirError, UsageError
from cbir.index import layout
from cbir.index.disk import require_free_space
from cbir.index.files import files_below, link, link_tree, sync
from cbir.index.generation import (
    Generation,
    IndexRecord,
    Manifest,
    Plan,
    Pointer,
    load,
    manifest_of,
    open_generation,
    record_of,
    require_same,
    save,
)
from cbir.index.log_format import segment_path, segments
from cbir.index.log_writer import LogWriter, compact, regroup
from cbir.index.names import MARKER
from cbir.index.stored_ids import StoredIds
from cbir.index.vector_log import VectorLog
from cbir.progress import Progress
from cbir.records import Failure, Payload, Point, with_changes
from cbir.stores.base import ReadBack
from cbir.stores.embedded.build import build_engine
from cbir.stores.engines import ENGINES
from cbir.stores.url import Location

_NUMBER = re.compile(r"\d{6}")
_SEGMENT_BYTES = 256 * 2**20
_MOST_SEGMENTS = 64
_POINTS_AT_ONCE = 1000

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Marker:
    format: int


class LocalWriter:
    """The next generation of a collection, under the folder's lock; see `Catalog.writer` and `CollectionWriter`."""

    shared = False

    def __init__(
        self,
        locations: Sequence[Location],
        plan: Plan,
        model_file: Path,
        same_source: bool,
        rebuild: bool = False,
    ):
        self._root = locations[0].root
        self._folder = self._root / plan.collection
        self._building = self._folder / layout.BUILDING
        self.name = str(self._folder)
        self.journal_path = self._folder / layout.JOURNAL
        self._rebuild = {location.name for location in locations} if rebuild else set[str]()
        self._model_file = model_file
        self._writer: LogWriter | None = None
        for location in locations:
            engine = ENGINES[location.url.scheme]
            engine.load().check_options({**engine.options, **location.url.options}, plan.model.dimension)
        self._lock = self._locked()
        try:
            self._published = self._open_published(plan)
            plan_file = self._folder / layout.PLAN
            unfinished = load(plan_file, Plan) if plan_file.is_file() and self._building.is_dir() else None
            for before in (self._published.plan if self._published else None, unfinished):
                if before is not None:
                    require_same(before, plan, str(self._folder), same_source)
            self._engines = self._merged_engines(locations)
            self._plan = replace(plan, base=self._published.folder.name if self._published else None)
            self._wrote = unfinished is not None and unfinished.base == self._plan.base
            self._log = self._stored_log(resume=self._wrote)
            self.stored_ids = self._log.stored_ids() if self._log else StoredIds.of(())
        except BaseException:
            self._lock.close()
            raise
        published = self._published.manifest.count if self._published else 0
        self.resumed = max(0, len(self.stored_ids) - published)

    @property
    def needs_publishing(self) -> bool:
        """True if something was written, or an index is missing or damaged, or is to be built with other options."""
        if self._wrote or self._published is None:
            return self._wrote
        if self._rebuild or self._engines != self._published.manifest.engines:
            return True
        return any(self._published.damage(name) for name in self._engines)

    def write(self, points: Sequence[Point]) -> list[Failure]:
        if points:
            self._log_writer().append(points)
            self._wrote = True
        return []

    def delete(self, ids: Sequence[str]) -> None:
        if ids:
            self._log_writer().delete(ids)
            self._wrote = True

    def update(self, ids: Sequence[str], changes: Payload) -> None:
        log = self._log
        if log is None:
            return
        positions = [position for point_id in ids if (position := log.position(point_id)) is not None]
        for start in range(0, len(positions), _POINTS_AT_ONCE):
            points = map(log.point, positions[start : start + _POINTS_AT_ONCE])
            self.write([with_changes(point, changes) for point in points])

    def described(self) -> Iterator[tuple[str, Payload]]:
        return self._log.described() if self._log else iter(())

    def thumbnails(self) -> Iterator[tuple[str, bytes]]:
        log = self._log
        if log is None:
            return iter(())
        return ((str(log.payload(position)["key"]), log.thumbnail(position)) for position in range(len(log)))

    def read_back(self) -> ReadBack:
        """Read the next generation's log, or that of the published one if nothing was written."""
        log = (
            VectorLog(self._building / layout.LOG, self._plan.model.dimension) if self._building.is_dir() else self._log
        )

        def get(ids: Sequence[str]) -> dict[str, Point]:
            if log is None:
                return {}
            positions = ((point_id, log.position(point_id)) for point_id in ids)
            return {point_id: log.point(position) for point_id, position in positions if position is not None}

        return ReadBack(log.described() if log else iter(()), get)

    def require_free_space(self, fresh: int) -> None:
        require_free_space(self._folder, fresh, len(self.stored_ids) + fresh, self._plan.model.dimension, self._engines)

    def flush(self) -> None:
        if self._writer is not None:
            self._writer.flush()

    def publish(self, progress: Progress) -> None:
        """Build the engines and publish the generation. If an engine fails, the old generation is still served."""
        self._log_writer()
        self._close_segment()
        for half_written in (self._building / layout.LOG).glob("*.tmp"):
            half_written.unlink()
        points = VectorLog(self._building / layout.LOG, self._plan.model.dimension)
        if points.dead > len(points) or len(segments(self._building / layout.LOG)) > _MOST_SEGMENTS:
            compact(self._building / layout.LOG, points.dimension)
            points = VectorLog(self._building / layout.LOG, points.dimension)
        for name, engine in self._engines.items():
            shutil.rmtree(self._building / name, ignore_errors=True)
            if self._is_as_published(name):
                link_tree(self._folder / str(self._plan.base) / name, self._building / name)
                continue
            options = {**ENGINES[engine.kind].options, **engine.options}
            with progress(f"building {name}", len(points), "points") as advance:
                build_engine(
                    engine.kind, self._building / name, self._building / layout.LOG, points.dimension, options, advance
                )
        for stray in self._building.iterdir():  # left by a crash, or an index that is not wanted any more
            if stray.name not in {layout.LOG, layout.MODEL, *self._engines}:
                shutil.rmtree(stray) if stray.is_dir() else stray.unlink()
        manifest = manifest_of(self._building, self._plan, self._engines, points)
        for path in [*files_below(self._building), *self._building.rglob("*/")]:
            sync(path)
        manifest_sha256 = save(self._building / layout.MANIFEST, manifest)
        number = int(self._plan.base or 0) + 1
        folder = self._folder / f"{number:06d}"
        self._building.rename(folder)
        sync(self._folder)
        self._point_to(folder.name, manifest_sha256)
        (self._folder / layout.PLAN).unlink()
        self._remove_older_than(number - 1)
        self._published = open_generation(self._root, self._plan.collection)

    def close(self) -> None:
        try:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
        finally:
            self._lock.close()

    def _is_as_published(self, name: str) -> bool:
        """Return True if an index would be the same as the published one."""
        return (
            not self._wrote
            and self._published is not None
            and name not in self._rebuild
            and self._published.manifest.engines.get(name) == self._engines[name]
            and not self._published.damage(name)
        )

    def _open_published(self, plan: Plan) -> Generation | None:
        """Return the published generation. If a crash left a complete one without a pointer, publish that first."""
        pointer = self._folder / layout.POINTER
        base = int(load(pointer, Pointer).generation) if pointer.is_file() else 0
        complete = self._folder / f"{base + 1:06d}"
        if (complete / layout.MANIFEST).is_file():
            if Generation(complete, load(complete / layout.MANIFEST, Manifest)).damage():
                shutil.rmtree(complete)
            else:
                self._point_to(complete.name, record_of(complete / layout.MANIFEST).sha256)
        return open_generation(self._root, plan.collection) if pointer.is_file() else None

    def _merged_engines(self, locations: Sequence[Location]) -> dict[str, IndexRecord]:
        """Return the engines to build: the existing ones and the requested ones, with the options that were given."""
        engines = dict(self._published.manifest.engines) if self._published else {}
        for location in locations:
            build_options = ENGINES[location.url.scheme].build_options
            requested = {key: value for key, value in location.url.options.items() if key in build_options}
            before = engines.get(location.name)
            if before is not None and before.kind != location.url.scheme:
                raise UsageError(
                    f"the index {location.name!r} of {self._folder} is of kind {before.kind}, not {location.url.scheme}"
                )
            engines[location.name] = IndexRecord(
                location.url.scheme, {**(before.options if before else {}), **requested}
            )
        return engines

    def _locked(self) -> IO[bytes]:
        self._folder.mkdir(parents=True, exist_ok=True)
        if not (self._root / MARKER).exists():
            save(self._root / MARKER, _Marker(layout.FORMAT))
        lock = (self._folder / layout.LOCK).open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise CbirError(
                f"another ingest is filling {self._folder}; wait for it, or name another --collection"
            ) from None
        return lock

    def _stored_log(self, resume: bool) -> VectorLog | None:
        """Return the log to continue, checked: the one in `building/` or the published one."""
        if resume:
            if self._published:
                self._published.require_intact(layout.LOG)  # the next generation includes it
            return VectorLog(self._building / layout.LOG, self._plan.model.dimension)
        if self._building.exists():  # of another base, or from a crash before the plan was saved
            shutil.rmtree(self._building)
        return self._published.log() if self._published else None

    def _log_writer(self) -> LogWriter:
        """Return the log's writer. The first call creates `building/` unless there is one to continue."""
        if self._writer is not None and self._writer.size >= _SEGMENT_BYTES:
            self._close_segment()
        if self._writer is None:
            inherited = segments(self._published.folder / layout.LOG) if self._published else []
            if not self._building.exists():
                (self._building / layout.LOG).mkdir(parents=True)
                for segment in inherited:
                    link(segment, self._building / layout.LOG / segment.name)
                if self._published:
                    link(self._published.folder / layout.MODEL, self._building / layout.MODEL)
                else:
                    shutil.copyfile(self._model_file, self._building / layout.MODEL)  # the user may change the original
                save(self._folder / layout.PLAN, self._plan)  # last: a folder without a plan is not continued
            last = max([0, *(int(segment.stem) for segment in segments(self._building / layout.LOG))])
            own = segment_path(self._building / layout.LOG, last)
            if last == 0 or own.name in {segment.name for segment in inherited} or own.stat().st_size >= _SEGMENT_BYTES:
                own = segment_path(self._building / layout.LOG, last + 1)
            self._writer = LogWriter(own, self._plan.model.dimension)
        return self._writer

    def _close_segment(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()
            regroup(writer.segment, self._plan.model.dimension)

    def _point_to(self, generation: str, manifest_sha256: str) -> None:
        save(self._folder / layout.POINTER, Pointer(generation, manifest_sha256))

    def _remove_older_than(self, number: int) -> None:
        """Remove older generations except the previous one. Open readers keep the files that they have opened."""
        for folder in self._folder.iterdir():
            if _NUMBER.fullmatch(folder.name) and int(folder.name) < number:
                shutil.rmtree(folder)
