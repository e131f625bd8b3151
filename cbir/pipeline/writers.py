"""The collection that is being filled in each index folder and on each server, with its journal."""

import logging
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from cbir.index.compatible import require_same
from cbir.index.disk import report_full_disk
from cbir.index.generation import Plan
from cbir.pipeline.journal import Journal
from cbir.progress import Progress, silent
from cbir.records import Failure, Point
from cbir.stores.base import Catalog, CollectionWriter

log = logging.getLogger(__name__)

_FLUSH_SECONDS = 2.0


class Target:
    """The writer of a collection and its journal, which is written after the writer has made its points durable.

    While it is `deferred`, nothing is published; `completed` tells whether a run would have published all of it.
    """

    deferred = False
    completed = False

    def __init__(self, writer: CollectionWriter, max_megapixels: float):
        self.writer = writer
        self._last_flush = time.monotonic()
        state = _state(writer)
        is_same = state is not None and state == _left.get(writer.journal_path)
        self.journal = Journal(writer.journal_path, max_megapixels, checked=not is_same)
        if not is_same:
            self.journal.reconcile(writer.stored_ids, writer.described())

    def write(self, points: Sequence[Point], failures: Sequence[Failure]) -> list[Failure]:
        """Store the points that the collection does not have with the same digest; return those that it refused."""
        stored = self.writer.stored_ids
        return self.store([point for point in points if not stored.has(point.id, "", point.digest)], failures)

    def store(self, points: Sequence[Point], failures: Sequence[Failure]) -> list[Failure]:
        """Store points, and return those that the collection refused."""
        refused = self.writer.write(points)
        refused_ids = {failure.id for failure in refused}
        self.journal.record([point for point in points if point.id not in refused_ids], [*failures, *refused])
        return refused

    def delete(self, ids: Sequence[str]) -> None:
        """Remove points."""
        self.writer.delete(ids)
        self.writer.flush()
        self.journal.commit(removed=ids)

    def flush(self) -> None:
        """Make everything durable that was written, then record it in the journal."""
        self.writer.flush()
        self.journal.commit()
        self._last_flush = time.monotonic()

    def flush_if_due(self) -> bool:
        """Flush if the last time is two seconds ago; return whether it was."""
        due = time.monotonic() - self._last_flush >= _FLUSH_SECONDS
        if due:
            self.flush()
        return due


_left: dict[Path, Hashable] = {}
"""The journals that this process has closed, with the states in which they agreed with their stores."""


def _remember(writer: CollectionWriter) -> None:
    """Remember that a closed journal agrees with its store, so that a small change need not read all of it."""
    _left[writer.journal_path] = _state(writer)


def _state(writer: CollectionWriter) -> Hashable:
    """Return a value that changes if others change the store or its journal; None if that cannot be told."""
    path = writer.journal_path
    if writer.state is None or not path.exists() or path.with_name(f"{path.name}-wal").exists():
        return None
    status = path.stat()
    return writer.state, status.st_ino, status.st_size, status.st_mtime_ns


@contextmanager
def open_targets(
    catalogs: Sequence[Catalog],
    plan: Plan,
    model_file: Path,
    max_megapixels: float,
    same_source: bool = False,
    rebuild: bool = False,
) -> Iterator[list[Target]]:
    """Open a target in each catalog, and close them in the end; see `Catalog.writer`.

    While they are open, a full disk raises `DiskFullError`.
    """
    targets: list[Target] = []
    with report_full_disk(), ExitStack() as stack:
        for catalog in catalogs:
            writer = catalog.writer(plan, model_file, same_source, rebuild)
            stack.callback(writer.close)
            targets.append(Target(writer, max_megapixels))
            stack.callback(_remember, writer)
            stack.callback(targets[-1].journal.close)
        yield targets


OpenTargets = Callable[[Sequence[Catalog], Plan, Path, float, bool], AbstractContextManager[list[Target]]]
"""Opens a target in each catalog, as `open_targets` does."""


class Batch:
    """Targets that stay open from change to change, and are published together in the end."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._targets: dict[str, tuple[Plan, Target]] = {}

    @contextmanager
    def open(
        self,
        catalogs: Sequence[Catalog],
        plan: Plan,
        model_file: Path,
        max_megapixels: float,
        same_source: bool = False,
    ) -> Iterator[list[Target]]:
        """Return the targets of a change, which are opened by the first one; see `open_targets`."""
        for catalog in catalogs:
            if catalog.address not in self._targets:
                opened = open_targets([catalog], plan, model_file, max_megapixels, same_source)
                (target,) = self._stack.enter_context(opened)
                target.deferred = True
                self._targets[catalog.address] = plan, target
            else:
                self._targets[catalog.address][1].writer.refresh()
            before, _ = self._targets[catalog.address]
            require_same(before, plan, before.collection, same_source)
        yield [self._targets[catalog.address][1] for catalog in catalogs]

    @property
    def plan(self) -> Plan | None:
        """What is being changed, None before the first change."""
        return next((plan for plan, _ in self._targets.values()), None)

    def finish(self) -> None:
        """Publish the changes, and close the targets."""
        with self._stack:
            targets = [target for _, target in self._targets.values()]
            for target in targets:
                target.deferred = False
                target.flush()
            for target in targets:
                publish_all([target], silent, partial=not target.completed)


def publish_all(targets: Sequence[Target], progress: Progress, partial: bool = False) -> None:
    """Publish what was written to the targets.

    With `partial`, a collection that other processes fill too is not declared complete.
    """
    for target in targets:
        if target.deferred:
            target.completed |= not partial
        elif target.writer.needs_publishing and not (partial and target.writer.shared):
            target.writer.publish(progress)


def show(targets: Sequence[Target]) -> None:
    """Publish what was written so far to index folders. A server shows each point at once, or all in the end."""
    for target in targets:
        if target.writer.needs_publishing and not target.deferred and not target.writer.shared:
            target.flush()
            target.writer.publish(silent, more=True)
            log.info("what was stored so far can be searched: %s", target.writer.name)


def failed_in_all(targets: Sequence[Target]) -> Mapping[str, Failure]:
    """Return the failures that are in every journal, by id."""
    first, *others = (target.journal.failures for target in targets)
    return {failure.id: failure for failure in first.values() if all(failure.id in failures for failures in others)}


def stored_in_all(targets: Sequence[Target]) -> Callable[[str, str, str | None], bool]:
    """Return a function that tells whether every collection has a point (id, version, payload digest) already."""
    stored = [target.writer.stored_ids for target in targets]
    return lambda point_id, version, digest: all(ids.has(point_id, version, digest) for ids in stored)
