"""Collections from one place into others: `cbir-ingest copy`, and what restoring a snapshot does.

Points travel in lots. One counts as moved when its target has made it durable, and one that a target has with the same
payload digest is not written again, so that the same call goes on where a killed one stopped. Nobody sees the
collection at a target before it is complete there and was compared with what was read.
"""

import logging
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from cbir import terminal
from cbir.errors import CbirError, UsageError
from cbir.generation import BUILDING, LOG, MODEL, Plan, check_collection, open_generation, resolve
from cbir.known import Known
from cbir.model import ModelRef, find_model, read_sealed, seal_of
from cbir.records import Point, id_bytes
from cbir.settings import Settings
from cbir.stores import collection_names, locate, open_store, parse, redacted
from cbir.vector_log import VectorLog

from .builder import IndexBuilder
from .catalog import use
from .disk import full_disk_is_one_line
from .run import FLUSH_SECONDS, stop_signals
from .sinks import Target, filled, open_targets, publish_all, stored_in_all

AT_ONCE = 1000
"""Points in a lot."""

_SAMPLE = 1000
_ASKED_AT_ONCE = 100
_LOWEST_COSINE = 1 - 1e-5
_CLOSE = 1e-12  # a server may read the last digit of a number otherwise

log = logging.getLogger(__name__)

Get = Callable[[Sequence[str]], dict[str, Point]]


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
    names = list(dict.fromkeys(_means(source, name, settings) for name in chosen)) or complete[::-1]  # the newest last
    for name in names:
        if name not in complete:
            there = ", ".join(complete) or "none"
            raise UsageError(f"{redacted(source)} has no complete collection {name!r}; it has: {there}")
    if not names:
        raise UsageError(f"{redacted(source)} has no collection to copy")
    if rename is not None and len(names) > 1:
        raise UsageError(f"--as names one collection, and these are {len(names)}; choose one with --collection")
    called = {name: rename or name for name in names}
    jobs = []
    for name, target in called.items():
        check_collection(target)
        held = _held(source, name, settings)
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
        UsageError: A store has another collection of that name.
        CbirError: A store failed or refused a point, or does not hold what was written; nothing was published there.
    """
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
                    get = _log_reader(target.sink.journal_path.parent, plan)
                else:
                    get = _server_reader(next(servers), plan, settings)
                _compare(target, read, pouring.sample, get, delete_extra)
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
    store = open_store(url, name, settings)
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
            if not point.digest:
                raise CbirError(f"cbir did not store the point {point.id}: it has no digest; remove it at the source")
            pouring.add(point)
        fresh = [point for point in lot if not stored(point.id, "", point.digest)]
        for target in targets:
            for refused in target.write(fresh, []):
                raise CbirError(f"{target.sink.name} refused {refused.key}: {refused.reason}")
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


def _compare(target: Target, read: Known, sample: Sequence[Point], get: Get, alone: bool) -> None:
    """Compare what a target holds with what was read: every id with its picture's hash, and a sample whole.

    With `alone` it must hold nothing else.

    Raises:
        CbirError: It is not the same.
    """
    name = target.sink.name
    same = others = 0
    with terminal.progress("comparing", len(read), "points") as advance:
        for identity, payload in target.sink.described():
            is_same = read.has(identity, "", str(payload.get("sha256", "")))
            same, others = same + is_same, others + (not is_same)
            advance(1)
    if same < len(read):
        raise _differs(name, f"{len(read) - same:,} of {len(read):,} points are not there, or hold another picture")
    if others and alone:
        raise _differs(name, f"it has {others:,} points more than were read")
    if others:
        log.warning("%s has %s points that the source does not have; they stay", name, f"{others:,}")
    for start in range(0, len(sample), _ASKED_AT_ONCE):
        part = sample[start : start + _ASKED_AT_ONCE]
        found = get([point.id for point in part])
        for point in part:
            what = _difference(point, found.get(point.id))
            if what:
                raise _differs(name, f"{point.payload['key']} has {what}")


def _difference(point: Point, other: Point | None) -> str:
    if other is None:
        return "gone"
    lengths = float(np.linalg.norm(point.vector) * np.linalg.norm(other.vector))
    cosine = float(point.vector @ other.vector) / lengths if lengths else 0.0
    if not cosine >= _LOWEST_COSINE:
        return f"another vector (cosine {cosine:.6f})"
    if not _alike(point.payload, other.payload):
        return "another payload"
    return "" if point.thumbnail == other.thumbnail else "another thumbnail"


def _alike(one: Any, other: Any) -> bool:
    """Return True if two JSON values are the same, but for the order of fields and the last digit of a number."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_alike(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_CLOSE)
    return bool(one == other)


def _differs(name: str, what: str) -> CbirError:
    return CbirError(
        f"{name} does not hold what was read: {what}; it was not published. Drop it there (cbir-ingest collections"
        " drop) and run the same command again"
    )


def _log_reader(folder: Path, plan: Plan) -> Get:
    """Return what reads points from the log that a collection's next generation is built of."""
    building = folder / BUILDING / LOG
    dimension = plan.model.dimension
    held = VectorLog(building, dimension) if building.is_dir() else open_generation(folder.parent, folder.name).log()

    def get(ids: Sequence[str]) -> dict[str, Point]:
        positions = {one: at for one in ids if (at := held.position(one)) is not None}
        return {
            one: Point(one, held.vector(at), held.payload(at), "", held.thumbnail(at), "")
            for one, at in positions.items()
        }

    return get


def _server_reader(url: str, plan: Plan, settings: Settings) -> Get:
    """Return what reads points from a server."""
    import base64

    from cbir.qdrant_server import Server
    from cbir.qdrant_store import DIGEST, THUMBNAIL, VERSION

    server = Server(url, settings, settings.server_retry_seconds)

    def get(ids: Sequence[str]) -> dict[str, Point]:
        found = {}
        for one in server.ask(
            lambda client: client.retrieve(plan.collection, list(ids), with_payload=True, with_vectors=True)
        ):
            payload: dict[str, Any] = dict(one.payload or {})
            version, digest = str(payload.pop(VERSION, "")), str(payload.pop(DIGEST, ""))
            thumbnail = base64.b64decode(payload.pop(THUMBNAIL, ""))
            vector = np.asarray(one.vector, np.float32)
            found[str(one.id)] = Point(str(one.id), vector, payload, version, thumbnail, digest)
        return found

    return get


def _means(store: str, name: str, settings: Settings) -> str:
    """Return the collection that a name or an alias means in a store; the name itself if there is none."""
    parsed = parse(store)
    if parsed.embedded:
        return resolve(locate([parsed])[0].root, name)
    from cbir.qdrant_store import resolve as resolve_alias

    return resolve_alias(store, name, settings)


def _mean_the_same(source: str, store: str, plan: Plan, called: Mapping[str, str], settings: Settings) -> None:
    """Let a data set's name mean in a store what it means at the source, if that collection is there."""
    if not plan.alias:
        return
    meant = _means(source, plan.alias, settings)
    wanted, now = called.get(meant, meant), _means(store, plan.alias, settings)
    if now not in (wanted, plan.alias) and wanted in collection_names(store, settings):
        use(store, wanted, settings)
