"""The transfer of collections between stores: `cbir-ingest copy`, and the restoring of a snapshot.

A point that a target has with the same payload digest is not written again, so that the same call continues where a
killed one stopped. A target publishes the collection when it is complete and was compared with what was read, and
builds its indexes again if many points are new.
"""

import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from cbir import terminal
from cbir.collection import optimize_all
from cbir.errors import CbirError, UsageError
from cbir.index.generation import Plan
from cbir.index.names import check_collection
from cbir.index.stored_ids import StoredIds
from cbir.models.card import ModelRef
from cbir.models.sealed import checksum_of, find_model, find_unchanged, read_sealed
from cbir.pipeline.run import stop_signals
from cbir.pipeline.writers import Target, open_targets, publish_all, stored_in_all
from cbir.progress import Advance
from cbir.records import Point, id_bytes
from cbir.settings import Settings
from cbir.stores.base import Catalog
from cbir.stores.registry import connect, connect_all
from cbir.text import printable, redacted

from .readback import require_same

BATCH = 1000
_SAMPLE = 1000

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Transfer:
    """The result of transferring one collection: its name at the targets, and the number of points that were read.

    `written` of them were missing at a target or had another digest there, and `compared` of them were read back from
    each target and compared completely. `removed` points of a target were not read, and were removed there.
    """

    collection: str
    points: int
    written: int
    removed: int
    compared: int


@dataclass
class _Seen:
    """The number of points that were written, and a random sample of all points."""

    written: int = 0
    seen: int = 0
    sample: list[Point] = field(default_factory=list)
    rng: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311  no secret

    def add(self, point: Point) -> None:
        """Keep each of the points with the same probability (reservoir sampling, Vitter's algorithm R)."""
        self.seen += 1
        if len(self.sample) < _SAMPLE:
            self.sample.append(point)
        elif (index := self.rng.randrange(self.seen)) < _SAMPLE:
            self.sample[index] = point


def copy(
    source: str,
    stores: Sequence[str],
    names: Sequence[str],
    rename: str | None,
    settings: Settings,
    model: Path | None = None,
    delete_extra: bool = False,
) -> Iterator[Transfer]:
    """Copy collections into other stores; yield the result of each when it is published.

    If `names` is empty, all complete collections are copied. `rename` gives a single one another name at the targets.
    Index folders need the file of the model that made the vectors, which a server does not keep. `delete_extra` removes
    points from the targets that the source does not have. In the end the name of a data set stands for the same
    collection at a target as at the source.

    Raises:
        UsageError: The arguments are wrong; nothing was changed.
        CbirError: A store failed, or does not hold what was written; what was stored is kept.
    """
    origin, catalogs = connect(source, settings), connect_all(stores, settings)
    complete = origin.names()
    chosen = {origin.resolve(name) for name in names} or set(complete)
    for name in chosen:
        if name not in complete:
            existing = ", ".join(complete) or "none"
            raise UsageError(f"{redacted(source)} has no complete collection {name!r}. It has: {existing}")
    if not chosen:
        raise UsageError(f"{redacted(source)} has no collection to copy")
    if rename is not None and len(chosen) > 1:
        raise UsageError(f"--as renames a single collection, not {len(chosen)}. Choose one with --collection.")
    new_names = {name: rename or name for name in reversed(complete) if name in chosen}  # the newest is published last
    jobs = []
    for name, target in new_names.items():
        check_collection(target)
        contents = origin.contents(name)
        if not contents.count:
            log.warning("%s is empty and is not copied", name)
            continue
        plan = replace(contents.plan, collection=target)
        _require_fit(origin, name, catalogs, plan)
        needs_model = any(catalog.keeps_model for catalog in catalogs)
        jobs.append((contents, plan, model_file(plan.model, contents.model, model) if needs_model else Path()))
    for contents, plan, file in jobs:
        title = f"copying {plan.collection}"
        yield fill(plan, contents.points, contents.count, file, catalogs, settings, title, delete_extra)
    for contents, _, _ in jobs:
        for catalog in catalogs:
            _copy_alias(origin, catalog, contents.plan, new_names)


def fill(
    plan: Plan,
    points: Callable[[], Iterator[Point]],
    count: int,
    model: Path,
    catalogs: Sequence[Catalog],
    settings: Settings,
    title: str,
    delete_extra: bool = False,
) -> Transfer:
    """Store points in a collection of every store, compare the stored points with them, and publish it.

    `points` returns the points, each once; `count` is their approximate number. SIGINT, SIGTERM and SIGHUP raise
    `KeyboardInterrupt`; what was stored is kept, and the same call continues.

    Raises:
        UsageError: There are no points, or a store has a different collection of that name.
        CbirError: A store failed or refused a point, or does not hold what was written; nothing was published.
    """
    if not count:
        raise UsageError(f"{plan.collection} is empty. There is nothing to store.")
    with open_targets(catalogs, plan, model, settings.max_image_megapixels) as targets:
        for target in targets:
            target.writer.require_free_space(max(0, count - len(target.writer.stored_ids)))
        with stop_signals():
            seen, removed = _Seen(), 0
            done = min(count, *(len(target.writer.stored_ids) for target in targets))
            try:
                with terminal.progress(title, count, "points", done=done) as advance:
                    read = StoredIds.of(_write(points(), targets, seen, done, advance))
                for target in targets:
                    extra = target.writer.stored_ids.unmarked() if delete_extra else []
                    target.delete(extra)
                    removed = max(removed, len(extra))
            finally:
                for target in targets:
                    target.flush()
            for target in targets:
                require_same(target.writer.name, target.writer.read_back(), read, seen.sample, delete_extra)
            publish_all(targets, terminal.progress)
    optimize_all(
        [catalog for catalog in catalogs if catalog.is_due(plan.collection)], plan.collection, terminal.progress
    )
    return Transfer(plan.collection, len(read), seen.written, removed, len(seen.sample))


def model_file(model: ModelRef, own: Path | None, given: Path | None = None) -> Path:
    """Return the file of the model that made a collection's vectors: `given`, its `own`, or the packaged one.

    Raises:
        UsageError: There is no file, or it is another model.
    """
    try:
        path = given or own or find_unchanged(model) or find_model(model.name)
    except UsageError:
        raise UsageError(
            f"The model {model.name} is not packaged, and a server keeps no model files. Give its file: --model FILE"
        ) from None
    if checksum_of(read_sealed(path)) != model.sha256:
        raise UsageError(
            f"{path} is not the {model.name} that made the vectors ({model.sha256[:12]}). Give its file: --model FILE"
        )
    return path


def _require_fit(origin: Catalog, name: str, catalogs: Sequence[Catalog], plan: Plan) -> None:
    """Raise `UsageError` if a target is the source, or has a different collection of that name."""
    if name == plan.collection and origin.address in {catalog.address for catalog in catalogs}:
        raise UsageError(
            f"{origin.address} is the source and a target. Name another store, or another collection with --as."
        )
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
        for text, existing, wanted in compared:
            if existing != wanted:
                raise UsageError(
                    f"{catalog.address} has a collection {plan.collection} {text} {existing}, not {wanted}."
                    " Give the copy another name with --as."
                )


def _write(
    points: Iterator[Point], targets: Sequence[Target], seen: _Seen, done: int, advance: Advance
) -> Iterator[tuple[bytes, str, str]]:
    """Write the points to the targets, and yield a row of `StoredIds` for each; `done` of them are there already."""
    stored = stored_in_all(targets)
    while batch := list(islice(points, BATCH)):
        for point in batch:
            if not (point.digest and "key" in point.payload and "sha256" in point.payload):
                raise CbirError(f"cbir did not store the point {point.id}: it has no key. Remove it at the source.")
            seen.add(point)
        fresh = [point for point in batch if not stored(point.id, "", point.digest)]
        for target in targets:
            for refused in target.write(fresh, []):
                raise CbirError(f"{target.writer.name} refused {printable(refused.key)}: {refused.reason}")
            for point in batch:
                target.writer.stored_ids.mark(point.id)
            target.flush_if_due()
        seen.written += len(fresh)
        caught_up = min(done, len(batch) - len(fresh))  # the progress started with these
        done -= caught_up
        advance(len(batch) - caught_up)
        yield from ((id_bytes(point.id), "", str(point.payload["sha256"])) for point in batch)


def _copy_alias(origin: Catalog, catalog: Catalog, plan: Plan, new_names: Mapping[str, str]) -> None:
    """Let the data set's name stand for the same collection in a catalog as at the source, if it has that."""
    if not plan.alias:
        return
    at_source = origin.resolve(plan.alias)
    wanted, current = new_names.get(at_source, at_source), catalog.resolve(plan.alias)
    if current not in (wanted, plan.alias) and wanted in catalog.names():
        catalog.use(wanted)
