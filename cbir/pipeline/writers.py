"""The collection that is being filled in each index folder and on each server, with its journal."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cbir.index.disk import report_full_disk
from cbir.index.generation import Plan
from cbir.pipeline.journal import Journal
from cbir.progress import Progress
from cbir.records import Failure, Point
from cbir.stores.base import Catalog, CollectionWriter

_FLUSH_SECONDS = 2.0


class Target:
    """The writer of a collection and its journal, which is written after the writer has made its points durable."""

    def __init__(self, writer: CollectionWriter, max_megapixels: float):
        self.writer = writer
        self._last_flush = time.monotonic()
        self.journal = Journal(writer.journal_path, max_megapixels)
        self.journal.reconcile(writer.stored_ids, writer.described())

    def write(self, points: Sequence[Point], failures: Sequence[Failure]) -> list[Failure]:
        """Store the points that the collection does not have with the same digest; return those that it refused."""
        stored = self.writer.stored_ids
        fresh = [point for point in points if not stored.has(point.id, "", point.digest)]
        refused = self.writer.write(fresh)
        refused_ids = {failure.id for failure in refused}
        self.journal.record([point for point in fresh if point.id not in refused_ids], [*failures, *refused])
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
            stack.callback(targets[-1].journal.close)
        yield targets


def publish_all(targets: Sequence[Target], progress: Progress, partial: bool = False) -> None:
    """Publish what was written to the targets.

    With `partial`, a collection that other processes fill too is not declared complete.
    """
    for target in targets:
        if target.writer.needs_publishing and not (partial and target.writer.shared):
            target.writer.publish(progress)


def failed_in_all(targets: Sequence[Target]) -> Mapping[str, Failure]:
    """Return the failures that are in every journal, by id."""
    first, *others = (target.journal.failures for target in targets)
    return {failure.id: failure for failure in first.values() if all(failure.id in failures for failures in others)}


def stored_in_all(targets: Sequence[Target]) -> Callable[[str, str, str | None], bool]:
    """Return a function that tells whether every collection has a point (id, version, payload digest) already."""
    stored = [target.writer.stored_ids for target in targets]
    return lambda point_id, version, digest: all(ids.has(point_id, version, digest) for ids in stored)
