"""One ingest run: the images of a source are embedded, written to every store and published."""

import logging
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import FrameType

from cbir.errors import UsageError
from cbir.index.generation import Plan
from cbir.index.names import check_collection, collection_name
from cbir.models.card import ModelRef
from cbir.models.embedder import Embedder, load_embedder
from cbir.models.runtime import cores
from cbir.pipeline.copies import Copies
from cbir.pipeline.missing import SourceKeys, check_removal, hashes_of_new, missing_in, note_missing
from cbir.pipeline.renames import Renames
from cbir.pipeline.report import IngestReport
from cbir.pipeline.reuse import find_in, other_collections
from cbir.pipeline.workers import ChunkResult, Embedding, embed_all
from cbir.pipeline.writers import OpenTargets, Target, failed_in_all, open_targets, publish_all, show, stored_in_all
from cbir.progress import Progress, silent
from cbir.records import Failure
from cbir.settings import Settings
from cbir.sources.base import Source
from cbir.stores.base import Catalog
from cbir.text import redacted

log = logging.getLogger(__name__)

_PUBLISH_FIRST_SECONDS = 60.0
_RARER = 1.5


@dataclass(frozen=True)
class Policy:
    """How a run treats images that are missing, failed before, or are copies.

    Example:
        >>> new = cbir.open("./unique", "unique", create=True)
        >>> report = new.add(["query.png", "query.png"], keys=["a", "b"], policy=cbir.Policy(skip_duplicates=True))
        >>> report.stored, report.skipped
        (1, 1)

    Attributes:
        remove_missing: Remove stored images that are no longer in the source.
        retry_failed: Try images again that failed in an earlier run, even if their file has not changed.
        skip_duplicates: Do not store copies of stored images.
        near_duplicates: The most of the 64 bits of its perceptual hash in which a copy may differ from its original.
            None: only an image with the same bytes is a copy.
        partial: Other processes store the rest of the data set, so a server's collection is not declared complete.
        max_delete: The largest share of a collection that `remove_missing` may remove. If more is missing, the run is
            refused: the source may be a wrong or an incomplete one. An image that the source has under another key
            does not count.
        reuse: Take vectors from other collections of the stores, too, if the same model filled them. Those of the
            collection itself are always taken for images with the same bytes.
        dry_run: Change nothing, and report what the run would do. The collection must exist.
        publish_every: Show readers what was stored each time that this many seconds have passed. None: in the end,
            or every minute if nothing was published before.
    """

    remove_missing: bool = False
    retry_failed: bool = False
    skip_duplicates: bool = False
    near_duplicates: int | None = None
    partial: bool = False
    max_delete: float = 0.2
    reuse: bool = False
    dry_run: bool = False
    publish_every: float | None = None


DEFAULT_POLICY = Policy()


class Interrupted(KeyboardInterrupt):
    """A signal ended the run early. What `report` counts is stored, and the same call finishes the rest."""

    def __init__(self, report: IngestReport):
        super().__init__(f"interrupted: {report.stored:,} images were stored. The same call finishes the rest.")
        self.report = report


def ingest(
    source: Source,
    catalogs: Sequence[Catalog],
    model_file: Path,
    settings: Settings,
    collection: str | None = None,
    dataset: str | None = None,
    policy: Policy = DEFAULT_POLICY,
    progress: Progress = silent,
    opening: OpenTargets = open_targets,
    embedder: Embedder | None = None,
) -> IngestReport:
    """Embed, store and publish the images of `source` that the stores do not have.

    SIGINT, SIGTERM and SIGHUP end the run early: what was stored is kept, `interrupted` is set in the report, and the
    same call finishes the rest.

    By default, the name of the collection is made of data set and model. If `dataset` renames the source's data set,
    its origin may differ from that of earlier runs.

    Raises:
        UsageError: A store, model or collection does not fit; nothing was changed.
        DiskFullError: A disk is full or too small; what was stored is kept.
        CbirError: The source or a store failed; what was stored is kept.
    """
    started = time.perf_counter()
    if collection is not None:
        check_collection(collection)
    embedder = embedder or load_embedder(model_file, settings, settings.threads)
    model = embedder.ref
    if settings.precision not in ("auto", model.precision):
        raise UsageError(
            f"the model {model.name} ({model.sha256[:12]}) calculates in {model.precision}, but --precision or"
            f" CBIR_PRECISION is {settings.precision}. Leave it out, or use another model or collection."
        )
    if model.random_weights:
        log.warning("warning: %s has random weights, so its results are meaningless", model.name)
    name = dataset or source.name
    plan = Plan(collection or _free_name(name, model, catalogs), name, source.origin, model, None)
    for catalog in catalogs if policy.dry_run else ():
        if catalog.plan(plan.collection) is None:
            raise UsageError(
                f"{catalog.address} has no collection {plan.collection} yet: every image of {source.origin} is new"
            )
    report = IngestReport(
        plan.collection,
        [redacted(url) for catalog in catalogs for url in catalog.urls],
        workers=settings.workers or max(1, cores() // settings.threads),
        threads=settings.threads,
        batch_size=settings.batch_size,
        precision=model.precision,
        device=embedder.device,
        other_files=source.other_files,
        dry_run=policy.dry_run,
    )
    limit = settings.max_image_megapixels
    is_first = all(catalog.plan(plan.collection) is None for catalog in catalogs)
    every = _PUBLISH_FIRST_SECONDS if policy.publish_every is None and is_first else policy.publish_every
    with opening(catalogs, plan, model_file, limit, dataset is not None) as targets:
        report.resumed = max(target.writer.resumed for target in targets)
        if report.resumed:
            log.info("continuing the last run: %s images are embedded already", f"{report.resumed:,}")
        for target in targets:
            if source.total is not None:
                stored = len(target.writer.stored_ids) if source.only is None else 0
                target.writer.require_free_space(max(0, source.total - stored))
        embedding = Embedding(
            embedder,
            name,
            stored_in_all(targets),
            limit,
            {} if policy.retry_failed else failed_in_all(targets),
            source.unique_keys,
            find_in(
                [(target.journal.ids_with, target.writer.points) for target in targets],
                partial(other_collections, catalogs if policy.reuse else (), plan),
            ),
            dry_run=policy.dry_run,
        )
        report.seconds["open"], core = time.perf_counter() - started, time.process_time()
        try:
            with stop_signals():
                try:
                    _fill(source, embedding, targets, policy, report, progress, every)
                    del embedder, embedding  # frees the model's memory before the indexes are built
                finally:
                    for target in targets:
                        target.flush()
                start, report.seconds["core"] = time.perf_counter(), time.process_time() - core
                if not policy.dry_run:
                    publish_all(targets, progress, policy.partial)
                report.seconds["build"] = time.perf_counter() - start
        except KeyboardInterrupt:
            report.interrupted = True
        finally:
            report.example_key = targets[0].journal.first_key()
            report.finish(started)
    return report


@contextmanager
def stop_signals() -> Iterator[None]:
    """Let the first SIGINT, SIGTERM or SIGHUP raise `KeyboardInterrupt`, unless it is ignored, as under nohup.

    Later signals are ignored, so that what is being written can be finished. Only the main thread can handle signals;
    in other threads this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    before = {name: handler for name, handler in handlers.items() if handler is not signal.SIG_IGN}

    def stop(number: int, frame: FrameType | None) -> None:
        for name in before:
            signal.signal(name, signal.SIG_IGN)
        raise KeyboardInterrupt

    for name in before:
        signal.signal(name, stop)
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _free_name(dataset: str, model: ModelRef, catalogs: Sequence[Catalog]) -> str:
    """Return the usual name, or one with the model's checksum if a store has that of another model of this name."""
    usual = collection_name(dataset, model.name)
    others = (catalog.plan(usual) for catalog in catalogs)
    if all(other is None or other.model.sha256 == model.sha256 for other in others):
        return usual
    return collection_name(dataset, f"{model.name}-{model.sha256[:8]}")


def _fill(
    source: Source,
    embedding: Embedding,
    targets: Sequence[Target],
    policy: Policy,
    report: IngestReport,
    progress: Progress,
    every: float | None,
) -> None:
    """Write the source's images to the targets, and count them in the report.

    What was written is shown to readers `every` so many seconds.
    """
    keys = SourceKeys(source, embedding.dataset)
    source = keys.source
    syncing = policy.remove_missing and source.complete and keys.all_readable()
    new_hashes = cache(partial(hashes_of_new, source, embedding, report.workers, progress))
    missing = cache(partial(missing_in, targets, keys))
    for target, images in zip(targets, missing(), strict=True) if syncing else ():
        check_removal(target, images, keys, new_hashes, policy.max_delete, policy.dry_run)
    written = () if policy.dry_run else targets
    first, stay = targets[0], not policy.remove_missing
    copies_seen = Copies(first.journal, policy.near_duplicates, first.writer.thumbnails(), keys.has, stay)
    renaming = Renames(targets, embedding.dataset, missing, source.label_of)
    failures_before = (failure for target in targets for failure in target.journal.failures.values())
    failed_before = {failure.id for failure in failures_before if keys.covers(failure.key)}
    results = embed_all(source.items, embedding, report.workers, report.batch_size, ordered=policy.skip_duplicates)
    done = min(report.resumed, source.total or 0)
    last_publish = time.monotonic()
    with progress("embedding", source.total, done=done) as advance, _deleting(written) as replaced:
        for result in results:
            start = time.perf_counter()
            copies = _copies(result, copies_seen, policy, report)
            points, renames = renaming.apply(
                [point for point in result.points if point.id not in copies], set(result.reused)
            )
            unchanged = {point.id for point in points if embedding.is_stored(point.id, "", point.digest)}
            points = [point for point in points if point.id not in unchanged]  # was edited, and its file got a new date
            result.unchanged += len(unchanged)
            failures = [failure for failure in result.failures if not failure.failed_at]
            refused = {failure.id: failure for target in written for failure in target.write(points, failures)}
            renames = [rename for rename in renames if syncing and rename.id not in refused]
            replaced += [rename.old_id for rename in renames]
            flushed = [target.flush_if_due() for target in written]
            if any(flushed[:1]):
                copies_seen.committed()  # by the first target's journal
            if any(flushed):
                _delete(written, replaced)  # what replaces them is on the disk
            if every is not None and any(flushed) and time.monotonic() - last_publish >= every:
                show(written)
                last_publish = time.monotonic()
                every *= _RARER if policy.publish_every is None else 1  # each makes searches scan more
            for target in targets:
                for image_id in [*result.ids, *(rename.old_id for rename in renames)]:
                    target.writer.stored_ids.mark(image_id)
            failed_before.difference_update(result.ids)
            report.add(result)
            report.stored += len(points) - len(refused)
            stored = targets[0].writer.stored_ids
            report.reused += sum(point.id in result.reused and point.id not in refused for point in points)
            report.changed += sum(point.id in stored and point.id not in refused for point in points)
            report.rename(renames)
            report.skip([*result.failures, *refused.values(), *copies.values()])
            report.seconds["store"] += time.perf_counter() - start
            caught_up = min(done, result.unchanged)  # the progress started with these
            done -= caught_up
            advance(result.read - caught_up)
    if not report.read and not source.complete:
        log.warning("warning: the options choose no image of %s", source.origin)
    if source.complete:
        if not keys.bad_rows:
            note_missing(targets, keys, policy.remove_missing, report)
        elif policy.remove_missing:
            rows = f"rows of {source.origin} cannot be read, such as {keys.bad_rows[0]}"
            log.warning("warning: nothing is removed, because %s. Correct them, and run sync again.", rows)
        for target in written:
            target.flush()
            target.journal.commit(forgotten=failed_before)


@contextmanager
def _deleting(targets: Sequence[Target]) -> Iterator[list[str]]:
    """Yield a list of ids, whose points are removed in the end, also if the run broke off."""
    ids: list[str] = []
    try:
        yield ids
    finally:
        _delete(targets, ids)


def _delete(targets: Sequence[Target], ids: list[str]) -> None:
    """Remove the points, and empty the list."""
    for target in targets if ids else ():
        target.delete(ids)
    ids.clear()


def _copies(result: ChunkResult, seen: Copies, policy: Policy, report: IngestReport) -> dict[str, Failure]:
    """Count the points that are copies, and return those that are not to be stored."""
    found: dict[str, Failure] = {}
    copied = seen.originals(result.points)
    for point in result.points:
        if point.id not in copied:
            continue
        key, (original, how) = str(point.payload["key"]), copied[point.id]
        report.duplicates += 1
        report.copies.append({"key": key, "original": original, "how": how})
        if policy.skip_duplicates:
            found[point.id] = Failure(point.id, key, f"a copy of {original} ({how})")
    return found
