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
from cbir.index.generation import Plan
from cbir.index.names import check_collection
from cbir.index.stored_ids import StoredIds
from cbir.models.card import ModelRef
from cbir.models.sealed import checksum_of, find_model, read_sealed
from cbir.pipeline.run import FLUSH_SECONDS, stop_signals
from cbir.pipeline.writers import Target, open_targets, publish_all, stored_in_all
from cbir.progress import Advance
from cbir.records import Point, id_bytes
from cbir.settings import Settings
from cbir.stores.base import Catalog
from cbir.stores.registry import connect, connect_all
from cbir.text import printable, redacted

from .readback import require_same

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
    origin, catalogs = connect(source, settings), connect_all(stores, settings)
    complete = origin.names()
    names = {origin.resolve(name) for name in chosen} or set(complete)
    for name in names:
        if name not in complete:
            existing = ", ".join(complete) or "none"
            raise UsageError(f"{redacted(source)} has no complete collection {name!r}; it has: {existing}")
    if not names:
        raise UsageError(f"{redacted(source)} has no collection to copy")
    if rename is not None and len(names) > 1:
        raise UsageError(f"--as names one collection, and these are {len(names)}; choose one with --collection")
    called = {name: rename or name for name in reversed(complete) if name in names}  # the newest is published last
    jobs = []
    for name, target in called.items():
        check_collection(target)
        held = origin.contents(name)
        if not held.count:
            log.warning("%s is empty; it is not copied", name)
            continue
        plan = replace(held.plan, collection=target)
        _require_fit(origin, name, catalogs, plan)
        needs_model = any(catalog.keeps_model for catalog in catalogs)
        jobs.append((held, plan, model_file(plan.model, held.model, model) if needs_model else Path()))
    for held, plan, file in jobs:
        what = f"copying {plan.collection}"
        yield fill(plan, held.points, held.count, file, catalogs, settings, what, delete_extra)
    for held, _, _ in jobs:
        for catalog in catalogs:
            _mean_the_same(origin, catalog, held.plan, called)


def fill(
    plan: Plan,
    points: Callable[[], Iterator[Point]],
    count: int,
    model: Path,
    catalogs: Sequence[Catalog],
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
        catalogs: Where to store it.
        settings: As for `copy`.
        what: The name of the progress bar.
        delete_extra: As for `copy`.

    Raises:
        UsageError: There are no points, or a store has another collection of that name.
        CbirError: A store failed or refused a point, or does not hold what was written; nothing was published.
    """
    if not count:
        raise UsageError(f"{plan.collection} is empty; there is nothing to store")
    with open_targets(catalogs, plan, model, settings.max_image_megapixels) as targets:
        for target in targets:
            target.writer.require_free_space(max(0, count - len(target.writer.stored_ids)))
        with stop_signals():
            pouring, removed = _Pouring(), 0
            done = min(count, *(len(target.writer.stored_ids) for target in targets))
            try:
                with terminal.progress(what, count, "points", done=done) as advance:
                    read = StoredIds.of(_pour(points(), targets, pouring, done, advance))
                for target in targets:
                    extra = target.writer.stored_ids.unmarked() if delete_extra else []
                    target.delete(extra)
                    removed = max(removed, len(extra))
            finally:
                for target in targets:
                    target.flush()
            for target in targets:
                require_same(target.writer.name, target.writer.read_back(), read, pouring.sample, delete_extra)
            publish_all(targets, terminal.progress)
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
    if checksum_of(read_sealed(path)) != model.sha256:
        raise UsageError(
            f"{path} is not the {model.name} that made the vectors ({model.sha256[:12]}); say --model FILE"
        )
    return path


def _require_fit(origin: Catalog, name: str, catalogs: Sequence[Catalog], plan: Plan) -> None:
    """Raise `UsageError` if a target is the source, or has a collection of that name that holds something else."""
    if name == plan.collection and origin.address in {catalog.address for catalog in catalogs}:
        raise UsageError(f"{origin.address} is the source and a target; name another store, or --as another name")
    for catalog in catalogs:
        before = catalog.plan(plan.collection)
        if before is None:
            continue
        models = [f"{model.name} ({model.sha256[:12]})" for model in (before.model, plan.model)]
        compared = (
            ("made with the model", *models),
            ("of the data set", before.dataset, plan.dataset),
            ("filled from", before.source, plan.source),
        )
        for what, held, wanted in compared:
            if held != wanted:
                raise UsageError(
                    f"{catalog.address} has a collection {plan.collection} {what} {held}, not {wanted};"
                    " give the copy another name with --as"
                )


def _pour(
    points: Iterator[Point], targets: Sequence[Target], pouring: _Pouring, done: int, advance: Advance
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
                raise CbirError(f"{target.writer.name} refused {printable(refused.key)}: {refused.reason}")
            for point in lot:
                target.writer.stored_ids.mark(point.id)
        if time.monotonic() - last_flush >= FLUSH_SECONDS:
            for target in targets:
                target.flush()
            last_flush = time.monotonic()
        pouring.written += len(fresh)
        caught_up = min(done, len(lot) - len(fresh))  # the bar started with these
        done -= caught_up
        advance(len(lot) - caught_up)
        yield from ((id_bytes(point.id), "", str(point.payload["sha256"])) for point in lot)


def _mean_the_same(origin: Catalog, catalog: Catalog, plan: Plan, called: Mapping[str, str]) -> None:
    """Let a data set's name mean in a store what it means at the source, if that collection is there."""
    if not plan.alias:
        return
    meant = origin.resolve(plan.alias)
    wanted, now = called.get(meant, meant), catalog.resolve(plan.alias)
    if now not in (wanted, plan.alias) and wanted in catalog.names():
        catalog.use(wanted)
