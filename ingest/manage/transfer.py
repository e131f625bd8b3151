"""Collections from one place into others: `cbir-ingest copy`, and what restoring a snapshot does.

Points travel in lots. One counts as moved when its target has made it durable, and one that a target has with the same
payload digest is not written again, so that the same call goes on where a killed one stopped. Nobody sees the
collection at a target before it is complete there and was compared with what was read.
"""

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from cbir import terminal
from cbir.errors import CbirError, UsageError
from cbir.index.disk import full_disk_is_one_line
from cbir.index.generation import MODEL, Plan, check_collection, open_generation, resolve
from cbir.index.stored_ids import Known
from cbir.models.sealed import ModelRef, find_model, read_sealed, seal_of
from cbir.pipeline.run import FLUSH_SECONDS, stop_signals
from cbir.pipeline.writers import Target, filled, open_targets, publish_all, stored_in_all
from cbir.records import Point, id_bytes
from cbir.settings import Settings
from cbir.stores.base import collection_names, locate, parse, redacted
from cbir.stores.embedded.writer import IndexBuilder

from .catalog import use
from .readback import of_folder, of_server, require_same

AT_ONCE = 1000
"""Points in a lot."""

_SAMPLE = 1000

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Moved:
    """What came of moving one collection.

    Attributes:
        collection: Its name at the targets.
        points: How many were read.
        written: How many of them a target did not have, or had with another digest.
        removed: How many a target had that were not read.
        compared: How many were read back whole.
    """

    collection: str
    points: int
    written: int
    removed: int
    compared: int


@dataclass(frozen=True)
class _Held:
    """A collection where it is: what it is, its model file if there is one, how many points, and how to read them."""

    plan: Plan
    model: Path | None
    count: int
    points: Callable[[], Iterator[Point]]


@dataclass
class _Pouring:
    """What was seen of the points on their way: how many were new, and a fair sample of all."""

    written: int = 0
    seen: int = 0
    sample: list[Point] = field(default_factory=list)
    rng: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311  no secret

    def add(self, point: Point) -> None:
        """Keep each of the points with the same probability (reservoir sampling, Vitter's algorithm R)."""
        self.seen += 1
        if len(self.sample) < _SAMPLE:
            self.sample.append(point)
        elif (at := self.rng.randrange(self.seen)) < _SAMPLE:
            self.sample[at] = point


def copy(
    source: str,
    stores: Sequence[str],
    chosen: Sequence[str],
    rename: str | None,
    settings: Settings,
    model: Path | None = None,
    delete_extra: bool = False,
) -> Iterator[Moved]:
    """Copy collections into other stores; yield what came of each when it is published.

    In the end a data set's name means at a target what it means at the source, if that collection is there.

    Args:
        source: URL of the store to read.
        stores: URLs of the stores to write.
        chosen: Names or aliases of collections; all complete ones if there are none.
        rename: What to call the one collection at the targets; None: as it is called.
        settings: What holds the API key, and how long a server is tried again.
        model: The file of the model that made the vectors, for index folders that a server's collection goes to.
        delete_extra: Remove points from the targets that the source does not have.

    Raises:
        UsageError: The call does not fit; nothing was changed.
        CbirError: A store failed, or does not hold what was written; what was stored is kept.
    """
    complete = collection_names(source, settings)
    names = {_means(source, name, settings) for name in chosen} or set(complete)
    for name in names:
        if name not in complete:
            there = ", ".join(complete) or "none"
            raise UsageError(f"{redacted(source)} has no complete collection {name!r}; it has: {there}")
    if not names:
        raise UsageError(f"{redacted(source)} has no collection to copy")
    if rename is not None and len(names) > 1:
        raise UsageError(f"--as names one collection, and these are {len(names)}; choose one with --collection")
    called = {name: rename or name for name in reversed(complete) if name in names}  # the newest is published last
    jobs = []
    for name, target in called.items():
        check_collection(target)
        held = _held(source, name, settings)
        if not held.count:
            log.warning("%s is empty; it is not copied", name)
            continue
        plan = replace(held.plan, collection=target)
        _require_fit(source, name, stores, plan, settings)
        into_folder = any(parse(store).embedded for store in stores)
        file = model_file(plan.model, held.model, model) if into_folder else Path()  # servers keep none
        jobs.append((held, plan, file))
    for held, plan, file in jobs:
        yield fill(plan, held.points, held.count, file, stores, settings, f"copying {plan.collection}", delete_extra)
    for held, _, _ in jobs:
        for store in stores:
            _mean_the_same(source, store, held.plan, called, settings)


def fill(
    plan: Plan,
    points: Callable[[], Iterator[Point]],
    count: int,
    model: Path,
    stores: Sequence[str],
    settings: Settings,
    what: str,
    delete_extra: bool = False,
) -> Moved:
    """Store points in a collection of every store, compare what is there with them, and publish it.

    SIGINT, SIGTERM and SIGHUP raise `KeyboardInterrupt`; what was stored is kept, and the same call goes on.

    Args:
        plan: What the collection is.
        points: Returns the points, each once.
        count: About how many there are.
        model: Its model file.
        stores: Where to store it.
        settings: As for `copy`.
        what: The name of the progress bar.
        delete_extra: As for `copy`.

    Raises:
        UsageError: There are no points, or a store has another collection of that name.
        CbirError: A store failed or refused a point, or does not hold what was written; nothing was published.
    """
    if not count:
        raise UsageError(f"{plan.collection} is empty; there is nothing to store")
    with (
        full_disk_is_one_line(),
        open_targets(stores, plan, model, settings, same_source=False) as targets,
    ):
        for target in targets:
            target.sink.require_room(max(0, count - len(target.sink.known)))
        with stop_signals():
            pouring, removed = _Pouring(), 0
            done = min(count, *(len(target.sink.known) for target in targets))
            try:
                with terminal.progress(what, count, "points", done=done) as advance:
                    read = Known.of(_pour(points(), targets, pouring, done, advance))
                for target in targets:
                    extra = target.sink.known.unmarked() if delete_extra else []
                    target.delete(extra)
                    removed = max(removed, len(extra))
            finally:
                for target in targets:
                    target.flush()
            servers = iter([store for store in stores if not parse(store).embedded])
            for target in targets:
                if isinstance(target.sink, IndexBuilder):
                    stored = of_folder(target.sink.journal_path.parent, plan)
                else:
                    stored = of_server(target.sink, next(servers), plan, settings)
                require_same(target.sink.name, stored, read, pouring.sample, delete_extra)
            publish_all(targets)
    return Moved(plan.collection, len(read), pouring.written, removed, len(pouring.sample))


def model_file(model: ModelRef, own: Path | None, given: Path | None = None) -> Path:
    """Return the file of the model that made a collection's vectors: the one given, its own, or the packaged one.

    Raises:
        UsageError: There is none, or it is another model.
    """
    try:
        path = given or own or find_model(model.name)
    except UsageError:
        raise UsageError(
            f"the file of the model {model.name} is needed, a server keeps none, and none is packaged: say --model FILE"
        ) from None
    if seal_of(read_sealed(path)) != model.sha256:
        raise UsageError(
            f"{path} is not the {model.name} that made the vectors ({model.sha256[:12]}); say --model FILE"
        )
    return path


def _held(url: str, name: str, settings: Settings) -> _Held:
    parsed = parse(url)
    if parsed.embedded:  # its log is read, whatever indexes it has
        generation = open_generation(locate([parsed])[0].root, name)
        manifest = generation.manifest
        plan = Plan(name, manifest.dataset, manifest.source, manifest.model, None)
        return _Held(plan, generation.folder / MODEL, manifest.count, lambda: generation.log().points())
    from cbir.stores.qdrant.store import open_server_store

    store = open_server_store(url, name, settings, settings.server_retry_seconds)
    info = store.info
    return _Held(Plan(name, info.dataset, info.source, info.model, None), None, info.count, store.points)


def _require_fit(source: str, name: str, stores: Sequence[str], plan: Plan, settings: Settings) -> None:
    """Raise `UsageError` if a target is the source, or has a collection of that name that holds something else."""
    (here,), there = _places([source]), _places(stores)
    if name == plan.collection and here in there:
        raise UsageError(f"{redacted(source)} is the source and a target; name another store, or --as another name")
    for store in stores:
        before = filled(store, plan.collection, settings)
        if before is None:
            continue
        models = [f"{one.name} ({one.sha256[:12]})" for one in (before.model, plan.model)]
        compared = (
            ("made with the model", *models),
            ("of the data set", before.dataset, plan.dataset),
            ("filled from", before.source, plan.source),
        )
        for what, held, wanted in compared:
            if held != wanted:
                raise UsageError(
                    f"{redacted(store)} has a collection {plan.collection} {what} {held}, not {wanted};"
                    " give the copy another name with --as"
                )


def _places(stores: Sequence[str]) -> list[str]:
    """Return what two URLs of the same index folder or server have in common."""
    urls = [parse(store) for store in stores]
    servers = [redacted(url.text).partition("?")[0].rstrip("/") for url in urls if not url.embedded]
    return [*servers, *(str(place.root) for place in locate([url for url in urls if url.embedded]))]


def _pour(
    points: Iterator[Point], targets: Sequence[Target], pouring: _Pouring, done: int, advance: terminal.Advance
) -> Iterator[tuple[bytes, str, str]]:
    """Write the points into the targets, and yield the id and digest of each that they have; `done` are there."""
    stored = stored_in_all(targets)
    last_flush = time.monotonic()
    while lot := list(islice(points, AT_ONCE)):
        for point in lot:
            if not (point.digest and "key" in point.payload and "sha256" in point.payload):
                raise CbirError(f"cbir did not store the point {point.id}, which has no key; remove it at the source")
            pouring.add(point)
        fresh = [point for point in lot if not stored(point.id, "", point.digest)]
        for target in targets:
            for refused in target.write(fresh, []):
                raise CbirError(f"{target.sink.name} refused {terminal.printable(refused.key)}: {refused.reason}")
            for point in lot:
                target.sink.known.mark(point.id)
        if time.monotonic() - last_flush >= FLUSH_SECONDS:
            for target in targets:
                target.flush()
            last_flush = time.monotonic()
        pouring.written += len(fresh)
        caught_up = min(done, len(lot) - len(fresh))  # the bar started with these
        done -= caught_up
        advance(len(lot) - caught_up)
        yield from ((id_bytes(point.id), "", str(point.payload["sha256"])) for point in lot)


def _means(store: str, name: str, settings: Settings) -> str:
    """Return the collection that a name or an alias means in a store; the name itself if there is none."""
    parsed = parse(store)
    if parsed.embedded:
        return resolve(locate([parsed])[0].root, name)
    from cbir.stores.qdrant.store import resolve as resolve_alias

    return resolve_alias(store, name, settings)


def _mean_the_same(source: str, store: str, plan: Plan, called: Mapping[str, str], settings: Settings) -> None:
    """Let a data set's name mean in a store what it means at the source, if that collection is there."""
    if not plan.alias:
        return
    meant = _means(source, plan.alias, settings)
    wanted, now = called.get(meant, meant), _means(store, plan.alias, settings)
    if now not in (wanted, plan.alias) and wanted in collection_names(store, settings):
        use(store, wanted, settings)
