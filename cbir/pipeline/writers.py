"""Collections being filled, each with its journal: one for each index folder and each server."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cbir.index.disk import report_full_disk
from cbir.index.generation import Plan
from cbir.pipeline.journal import Journal
from cbir.progress import Progress
from cbir.records import Failure, Point
from cbir.stores.base import Catalog, CollectionWriter


class Target:
    """A collection's writer and its journal, which is written only when the writer has made its points durable."""

    def __init__(self, writer: CollectionWriter, max_megapixels: float):
        self.writer = writer
        self.journal = Journal(writer.journal_path, max_megapixels)
        self.journal.reconcile(writer.stored_ids, writer.described())

    def write(self, points: Sequence[Point], failures: Sequence[Failure]) -> list[Failure]:
        """Store what the collection does not have with the same digest; return what was refused."""
        stored = self.writer.stored_ids
        fresh = [point for point in points if not stored.has(point.id, "", point.digest)]
        refused = self.writer.write(fresh)
        lost = {failure.id for failure in refused}
        self.journal.record([point for point in fresh if point.id not in lost], [*failures, *refused])
        return refused

    def delete(self, ids: Sequence[str]) -> None:
        """Remove points."""
        self.writer.delete(ids)
        self.writer.flush()
        self.journal.commit(removed=ids)

    def flush(self) -> None:
        """Return when all that was written is durable, and the journal knows."""
        self.writer.flush()
        self.journal.commit()


@contextmanager
def open_targets(
    catalogs: Sequence[Catalog],
    plan: Plan,
    model_file: Path,
    max_megapixels: float,
    same_source: bool = False,
    rebuild: bool = False,
) -> Iterator[list[Target]]:
    """Open one target in each catalog, and close them in the end; see `Catalog.writer`.

    A full disk is raised as `DiskFullError` while they are open.
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
    """Publish what was written.

    Args:
        targets: Where it was written.
        progress: Shows each index that is built.
        partial: Other processes still fill the collection: where they share it, it is not declared complete.
    """
    for target in targets:
        if target.writer.needs_publishing and not (partial and target.writer.shared):
            target.writer.publish(progress)


def failed_in_all(targets: Sequence[Target]) -> Mapping[str, Failure]:
    """Return the failures that every journal remembers, by id."""
    first, *others = (target.journal.failures for target in targets)
    return {failure.id: failure for failure in first.values() if all(failure.id in failures for failures in others)}


def stored_in_all(targets: Sequence[Target]) -> Callable[[str, str, str | None], bool]:
    """Return what tells whether every collection has a point (id, version, payload digest) already."""
    every = [target.writer.stored_ids for target in targets]
    return lambda point_id, version, digest: all(stored.has(point_id, version, digest) for stored in every)
