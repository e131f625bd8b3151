"""Fills and publishes the next generation of one collection in one index folder.

Points go into the vector log in `building/` first, where a crash or Ctrl-C cannot lose them. At the end the engines are
built from the log, every file is hashed into the manifest, the folder is renamed to its number, and the pointer is
moved. After a crash between two of these steps the old generation is still served, and the same command continues.
"""

import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from cbir.errors import DamageError, UsageError
from cbir.index import layout
from cbir.index.disk import require_free_space
from cbir.index.files import link, link_tree, sync
from cbir.index.generation import (
    IndexRecord,
    Marker,
    Plan,
    damage_error,
    load,
    open_generation,
    require_same,
    save,
)
from cbir.index.log_format import segment_path, segments
from cbir.index.log_writer import LogWriter, compact, regroup
from cbir.index.names import MARKER
from cbir.index.publishing import locked, open_published, publish, remove_leftovers
from cbir.index.stored_ids import StoredIds
from cbir.index.vector_log import VectorLog
from cbir.models.sealed import find_unchanged
from cbir.progress import Progress
from cbir.records import Failure, Payload, Point, with_changes
from cbir.stores.base import ReadBack
from cbir.stores.embedded.build import build_engine
from cbir.stores.engines import ENGINES
from cbir.stores.recall import report_recall
from cbir.stores.url import Location

_SEGMENT_BYTES = 256 * 2**20
_MOST_SEGMENTS = 64
_POINTS_AT_ONCE = 1000

log = logging.getLogger(__name__)


class LocalWriter:
    """The next generation of a collection, under the folder's lock; see `Catalog.writer` and `CollectionWriter`."""

    shared = False

    def __init__(
        self,
        root: Path,
        locations: Sequence[Location],
        plan: Plan,
        model_file: Path | None,
        same_source: bool,
        rebuild: bool = False,
    ):
        self._folder = root / plan.collection
        self._building = self._folder / layout.BUILDING
        self.name = str(self._folder)
        self.journal_path = self._folder / layout.JOURNAL
        self._rebuild = {location.name for location in locations} if rebuild else set[str]()
        self._model_file = model_file
        self._writer: LogWriter | None = None
        for location in locations:
            engine = ENGINES[location.url.scheme]
            engine.load().check_options({**engine.options, **location.url.options}, plan.model.dimension)
        self._folder.mkdir(parents=True, exist_ok=True)
        if not (root / MARKER).exists():
            save(root / MARKER, Marker())
        sync(root)
        self._lock = locked(self._folder)
        try:
            self._published = open_published(self._folder)
            unfinished = self._unfinished()
            for before in (self._published.plan if self._published else None, unfinished):
                if before is not None:
                    require_same(before, plan, str(self._folder), same_source)
            self._engines = self._merged_engines(locations)
            base = self._published.folder.name if self._published else None
            self._plan = replace(plan, base=base, engines=self._engines)
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
        return any(self._published.damage(name) for name in (layout.MODEL, *self._engines))

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

    def points(self, ids: Sequence[str]) -> dict[str, Point]:
        return self._log.find(ids) if self._log else {}

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
        return ReadBack(log.described(), log.find) if log else ReadBack(iter(()), lambda ids: {})

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
                recall = build_engine(
                    engine.kind, self._building / name, self._building / layout.LOG, points.dimension, options, advance
                )
            if recall is not None:
                report_recall(f"the index {name}", recall)
        for stray in self._building.iterdir():  # left by a crash, or an index that is not wanted any more
            if stray.name not in {layout.LOG, layout.MODEL, *self._engines}:
                shutil.rmtree(stray) if stray.is_dir() else stray.unlink()
        self._keep_model()
        number = int(self._plan.base or 0) + 1
        publish(self._folder, self._building, number, self._plan, self._engines, points)
        remove_leftovers(self._folder, number)
        self._published = open_generation(self._folder.parent, self._folder.name)

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

    def _unfinished(self) -> Plan | None:
        """Return the plan of the generation in `building/`; None if there is none, or it was killed before that."""
        path = self._folder / layout.PLAN
        try:
            return load(path, Plan) if path.is_file() and self._building.is_dir() else None
        except DamageError as error:
            raise damage_error(str(error), self._folder) from None

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

    def _keep_model(self) -> None:
        """Give the next generation the model's file: the published one, or the user's if that is damaged."""
        kept = self._building / layout.MODEL
        published = self._published.folder / layout.MODEL if self._published else kept
        unchanged = find_unchanged(self._plan.model, kept, published, self._model_file or kept)
        if unchanged is None and self._model_file is not None:
            model = f"{self._plan.model.name} ({self._plan.model.sha256[:12]})"
            raise damage_error(f"{kept}: no undamaged file of the model {model} was found", self._folder)
        if unchanged not in (None, kept):
            kept.unlink(missing_ok=True)
            link(unchanged, kept) if unchanged == published else shutil.copyfile(unchanged, kept)

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
                self._keep_model()
                sync(self._building / layout.LOG)
                sync(self._building)
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
