"""Where an ingest writes: an index folder or a server's collection, each with its journal."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cbir import terminal
from cbir.errors import DamageError
from cbir.index.generation import POINTER, Manifest, Plan, open_generation
from cbir.index.stored_ids import Known
from cbir.models.sealed import ModelRef
from cbir.pipeline.journal import Failure, Journal
from cbir.records import Payload, Point
from cbir.settings import Settings
from cbir.stores.base import locate, parse
from cbir.stores.embedded.writer import IndexBuilder

if TYPE_CHECKING:
    from cbir.stores.qdrant.store import CollectionRecord

Progress = Callable[[str, int], Callable[[int], None]]


class Sink(Protocol):
    """A collection being filled: an index folder's or a server's."""

    name: str
    known: Known
    resumed: int
    journal_path: Path

    @property
    def needs_publishing(self) -> bool:
        """True if readers would see something new after `publish`."""

    def require_room(self, fresh: int) -> None:
        """Raise `DiskFullError` if so many more points cannot be stored."""

    def write(self, points: Sequence[Point]) -> list[Failure]:
        """Take points, which then outlive this process; return those that were refused."""

    def delete(self, ids: Sequence[str]) -> None:
        """Remove points."""

    def update(self, ids: Sequence[str], changes: Payload) -> None:
        """Set payload fields of points; None removes one."""

    def described(self) -> Iterator[tuple[str, Payload]]:
        """Yield (id, payload) of every point that was there when the run began."""

    def thumbnails(self) -> Iterator[tuple[str, bytes]]:
        """Yield (key, thumbnail) of every point that was there when the run began."""

    def flush(self) -> None:
        """Return when all points outlive the machine."""

    def publish(self, progress: Progress) -> object:
        """Make what was written the collection that readers see."""

    def close(self) -> None:
        """Release what is held; nothing written is lost."""


class Target:
    """A sink and its journal, which is written only when the sink has made its points durable."""

    def __init__(self, sink: Sink, max_megapixels: float):
        self.sink = sink
        self.journal = Journal(sink.journal_path, max_megapixels)
        self.journal.reconcile(sink.known, sink.described())

    def write(self, points: Sequence[Point], failures: Sequence[Failure]) -> list[Failure]:
        """Store what the sink does not have with the same digest; return what it refused."""
        known = self.sink.known
        fresh = [point for point in points if not known.has(point.id, "", point.digest)]
        refused = self.sink.write(fresh)
        lost = {one.id for one in refused}
        self.journal.record([point for point in fresh if point.id not in lost], [*failures, *refused])
        return refused

    def delete(self, ids: Sequence[str]) -> None:
        """Remove points."""
        self.sink.delete(ids)
        self.sink.flush()
        self.journal.commit(removed=ids)

    def flush(self) -> None:
        """Return when all that was written is durable, and the journal knows."""
        self.sink.flush()
        self.journal.commit()


@contextmanager
def open_targets(
    stores: Sequence[str], plan: Plan, model_file: Path, settings: Settings, same_source: bool, anew: bool = False
) -> Iterator[list[Target]]:
    """Open one target for each index folder and each server; all URLs are checked before the first is opened.

    With `anew` the indexes that the URLs name are built again though nothing changed.
    """
    urls = [parse(store) for store in stores]
    places = locate([url for url in urls if url.embedded])
    with ExitStack() as stack:
        targets: list[Target] = []

        def add(sink: Sink) -> None:
            stack.callback(sink.close)
            target = Target(sink, settings.max_image_megapixels)
            stack.callback(target.journal.close)
            targets.append(target)

        for root in dict.fromkeys(place.root for place in places):
            add(IndexBuilder([place for place in places if place.root == root], plan, model_file, same_source, anew))
        for url in urls:
            if not url.embedded:
                from cbir.stores.qdrant.writer import ServerSink

                add(ServerSink(url.text, plan, settings, same_source))
        yield targets


def publish_all(targets: Sequence[Target], partial: bool = False) -> None:
    """Publish what was written, with a progress bar for each index that is built.

    With `partial`, a server's collection is left as one that others still fill.
    """
    with ExitStack() as stack:

        def progress(name: str, count: int) -> Callable[[int], None]:
            stack.close()  # the bar of the index before
            return stack.enter_context(terminal.progress(f"building {name}", count, "points"))

        for target in targets:
            left_open = partial and not isinstance(target.sink, IndexBuilder)
            if target.sink.needs_publishing and not left_open:
                target.sink.publish(progress)


def failed_in_all(targets: Sequence[Target]) -> Mapping[str, Failure]:
    """Return the failures that every journal remembers."""
    first, *others = (target.journal.failures for target in targets)
    return {one.id: one for one in first.values() if all(one.id in failures for failures in others)}


def stored_in_all(targets: Sequence[Target]) -> Callable[[str, str, str | None], bool]:
    """Return what tells whether every sink has a point (id, version, payload digest) already."""
    every = [target.sink.known for target in targets]
    return lambda identity, version, payload: all(known.has(identity, version, payload) for known in every)


def model_of(store: str, collection: str, settings: Settings) -> ModelRef | None:
    """Return the model of a store's collection, or None if it has none of that name (or it cannot be read)."""
    before = filled(store, collection, settings)
    return before.model if before else None


def filled(store: str, collection: str, settings: Settings) -> "Manifest | CollectionRecord | None":
    """Return what a store's collection says of itself, or None if there is none of that name (or it cannot be read)."""
    url = parse(store)
    if not url.embedded:
        from cbir.stores.qdrant.server import Server
        from cbir.stores.qdrant.store import read_record

        return read_record(Server(store, settings), collection)
    root = locate([url])[0].root
    if not (root / collection / POINTER).is_file():
        return None
    try:
        return open_generation(root, collection).manifest
    except DamageError:
        return None
