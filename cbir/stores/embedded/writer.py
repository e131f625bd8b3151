"""Fills one collection in one index folder, and publishes what was written.

Points go into segments of the log in `building/` first, where a crash or Ctrl-C cannot lose them. To publish them, they
are appended to the tail of the published generation. The first time, and to build other indexes, a generation is made:
the engines are built from the whole log, every file is hashed into the manifest, and the folder is renamed to its
number. In the end the pointer is replaced. After a crash between two of these steps, readers see what was published
before, and the same command continues.
"""

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cbir.errors import CbirError, DamageError, UsageError
from cbir.index import layout
from cbir.index.compatible import require_same
from cbir.index.disk import require_free_space
from cbir.index.files import is_locked, sync
from cbir.index.generation import (
    Generation,
    IndexRecord,
    Marker,
    Plan,
    damage_error,
    open_generation,
)
from cbir.index.json_file import load, save
from cbir.index.live_log import LiveLog
from cbir.index.log_format import segment_path, segments
from cbir.index.log_writer import LogWriter, regroup
from cbir.index.names import MARKER
from cbir.index.open_logs import OpenLogs
from cbir.index.publishing import append, locked, open_published
from cbir.index.stored_ids import LogIds, PointIds
from cbir.index.vector_log import Segment, VectorLog, open_segment
from cbir.progress import Progress
from cbir.records import Failure, Payload, Point, with_changes
from cbir.stores.base import ReadBack
from cbir.stores.embedded.growing import GrowingBuild
from cbir.stores.embedded.making import is_due, keep_model, make_generation, merge
from cbir.stores.engines import ENGINES
from cbir.stores.url import Location

_SEGMENT_BYTES = 256 * 2**20
_POINTS_AT_ONCE = 1000
_MOST_FRAMES = 64
"""A segment that is read between its changes ends after so many frames, since all of them are read each time."""

log = logging.getLogger(__name__)


class LocalWriter:
    """A collection that is being filled, under the folder's lock; see `Catalog.writer` and `CollectionWriter`."""

    shared = False

    def __init__(
        self,
        root: Path,
        locations: Sequence[Location],
        plan: Plan,
        model_file: Path | None,
        same_source: bool,
        rebuild: bool = False,
        logs: OpenLogs | None = None,
    ):
        self._logs = logs or OpenLogs(root)
        self._folder = root / plan.collection
        self._building = self._folder / layout.BUILDING
        self.name = str(self._folder)
        self.journal_path = self._folder / layout.JOURNAL
        self._rebuild = {location.name for location in locations} if rebuild else set[str]()
        self._model_file = model_file
        self._writer: LogWriter | None = None
        self._complete: dict[Path, Segment] = {}
        self._growing: dict[str, GrowingBuild] = {}
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
                    plan = replace(plan, model=before.model)  # with the libraries that made the first vectors
            self._engines = self._merged_engines(locations)
            self._plan = replace(plan, base=_state(self._published), engines=self._engines)
            self._wrote = unfinished is not None and self._continues(unfinished)
            if self._building.exists() and not self._wrote:  # it follows another state, or its plan was never saved
                shutil.rmtree(self._building)
            shutil.rmtree(self._folder / layout.GROWING, ignore_errors=True)
            self._log, self._is_current = self._stored(), True
        except BaseException:
            self._lock.close()
            raise
        self.stored_ids: PointIds = LogIds(self._log)
        self.resumed = max(0, len(self._log) - (self._published.count if self._published else 0))

    @property
    def state(self) -> str | None:
        """See `CollectionWriter`: the generation and the number of the last change."""
        return None if self._wrote or self._published is None else f"{self._published.folder.name}.{self._plan.base}"

    def refresh(self) -> None:
        """See `CollectionWriter.refresh`."""
        if self._writer is not None and self._writer.frames >= _MOST_FRAMES:
            number = int(self._writer.segment.stem)
            self._close_segment()
            self._writer = LogWriter(segment_path(self._building / layout.LOG, number + 1), self._plan.model.dimension)
        self._log, self._is_current = self._stored(), True
        self.stored_ids = LogIds(self._log)

    @property
    def needs_publishing(self) -> bool:
        """True if something was written, or an index is missing or damaged, or is to be built with other options."""
        return self._wrote or (self._published is not None and (bool(self._growing) or not self._appends))

    def write(self, points: Sequence[Point]) -> list[Failure]:
        if points:
            self._log_writer().append(points)
            self._wrote, self._is_current = True, False
        return []

    def delete(self, ids: Sequence[str]) -> None:
        if ids:
            self._log_writer().delete(ids)
            self._wrote, self._is_current = True, False

    def update(self, ids: Sequence[str], changes: Payload) -> None:
        log = self._log if self._is_current else self._stored()
        positions = [position for point_id in ids if (position := log.position(point_id)) is not None]
        for start in range(0, len(positions), _POINTS_AT_ONCE):
            points = map(log.point, positions[start : start + _POINTS_AT_ONCE])
            self.write([with_changes(point, changes) for point in points])

    def points(self, ids: Sequence[str]) -> dict[str, Point]:
        return self._log.find(ids)

    def described(self) -> Iterator[tuple[str, Payload]]:
        return self._log.described()

    def thumbnails(self) -> Iterator[tuple[str, bytes]]:
        log = self._log
        for position in log.living():
            yield str(log.payload(position)["key"]), log.thumbnail(position)

    def read_back(self) -> ReadBack:
        log = self._stored()
        return ReadBack(log.described(), log.find)

    def require_free_space(self, fresh: int) -> None:
        same = self._published is not None and self._engines == self._published.manifest.engines
        built = {} if same and not self._rebuild else self._engines
        require_free_space(self._folder, fresh, len(self.stored_ids) + fresh, self._plan.model.dimension, built)

    def flush(self) -> None:
        """See `CollectionWriter.flush`. The first one lets the engines of a first generation grow."""
        if self._writer is not None:
            self._writer.flush()
        if self._wrote and self._published is None and not self._growing:
            for name, engine in self._engines.items():
                options = {**ENGINES[engine.kind].options, **engine.options}
                folder = self._folder / layout.GROWING / name
                logs = [self._building / layout.LOG, self._folder / layout.TAIL, self._folder / "000001" / layout.LOG]
                self._growing[name] = GrowingBuild(engine.kind, folder, logs, self._plan.model.dimension, options)

    def publish(self, progress: Progress, more: bool = False) -> None:
        """Publish what was written. If an engine cannot be built, readers see what was published before.

        The engines that grow are completed when no more is to come.
        """
        if self._published is None:
            self._log_writer()  # an empty collection has a segment, too
        self._close_segment()
        if not self._appends:
            self._publish_generation(progress, {} if more else self._growing)
        elif written := segments(self._building / layout.LOG):  # none if it was killed before its first point
            append(self._folder, written, len(self._stored()), self._plan.model.dimension)
        shutil.rmtree(self._building, ignore_errors=True)
        self._complete.clear()
        self._wrote = False
        if self._growing and not more:
            due = is_due(self._logs.get(self._folder.name).log)
            if due and not is_locked(self._folder / layout.MERGE_LOCK):
                try:
                    merge(self._folder, progress, self._growing)
                except CbirError as error:  # what was written is published all the same
                    log.warning("warning: the indexes were not completed: %s", error)
            self._stop_growing()
        self._published = open_generation(self._folder.parent, self._folder.name)
        self._plan = replace(self._plan, base=_state(self._published))

    def _publish_generation(self, progress: Progress, growing: Mapping[str, GrowingBuild]) -> None:
        written = segments(self._building / layout.LOG)
        published = self._published and open_generation(self._folder.parent, self._folder.name)
        whole = published is not None and not (written or published.tail)
        kept = {name for name in self._engines if whole and self._is_as_published(name)}
        save(self._folder / layout.PLAN, self._plan)  # names the indexes if the manifest is damaged later
        place, model = layout.MAKING, self._model_file
        make_generation(self._folder, place, self._plan, written, published, model, kept, progress, growing=growing)

    @property
    def _appends(self) -> bool:
        """True if the published engines stay, so that what was written is appended to the tail."""
        if self._published is None or self._rebuild:
            return False
        published = open_generation(self._folder.parent, self._folder.name)  # the tail may have been merged meanwhile
        if self._engines != published.manifest.engines:
            return False
        return not any(published.damage(name, hashed=not self._wrote) for name in (layout.MODEL, *self._engines))

    def close(self) -> None:
        try:
            if self._writer is not None:
                writer, self._writer = self._writer, None
                writer.close()
        finally:
            self._stop_growing()
            self._lock.close()

    def _stop_growing(self) -> None:
        for growing in self._growing.values():
            growing.stop()
        self._growing.clear()
        shutil.rmtree(self._folder / layout.GROWING, ignore_errors=True)

    def _is_as_published(self, name: str) -> bool:
        """Return True if an index would be the same as the published one."""
        return (
            self._published is not None
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
            recorded = before.options if before else ENGINES[location.url.scheme].initial
            engines[location.name] = IndexRecord(location.url.scheme, {**recorded, **requested})
        return engines

    def _continues(self, unfinished: Plan) -> bool:
        """Return True if `building/` has what was written after the published state."""
        published = self._published
        if published is not None and unfinished.base == published.folder.name:  # by an older version
            for name in published.log_names:
                (self._building / layout.LOG / name).unlink(missing_ok=True)
            return True
        return unfinished.base == self._plan.base

    def _stored(self) -> LiveLog:
        """Return all points: the published ones, and those in `building/`, of which only the last segment may grow."""
        dimension = self._plan.model.dimension
        log = self._logs.get(self._folder.name).log if self._published else LiveLog(VectorLog((), dimension))
        written = segments(self._building / layout.LOG)
        opened = [self._complete.get(path) or open_segment(path, dimension) for path in written]
        self._complete = dict(zip(written[:-1], opened[:-1], strict=True))
        return log.followed_by(opened) if written else log

    def _log_writer(self) -> LogWriter:
        """Return the log's writer. The first call creates `building/` unless there is one to continue."""
        if self._writer is not None and self._writer.size >= _SEGMENT_BYTES:
            self._close_segment()
        if self._writer is None:
            folder = self._building / layout.LOG
            if not self._building.exists():
                folder.mkdir(parents=True)
                if self._published is None:
                    keep_model(self._plan.model, self._building / layout.MODEL, self._model_file)
                sync(folder)
                sync(self._building)
                save(self._folder / layout.PLAN, self._plan)  # last: a folder without a plan is not continued
            own = [int(segment.stem) for segment in segments(folder)]
            last = max([self._published.commit if self._published else 0, *own])
            continued = own and segment_path(folder, last).stat().st_size < _SEGMENT_BYTES
            self._writer = LogWriter(segment_path(folder, last if continued else last + 1), self._plan.model.dimension)
        return self._writer

    def _close_segment(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()
            regroup(writer.segment, self._plan.model.dimension)


def _state(published: Generation | None) -> str | None:
    return str(published.commit) if published else None
