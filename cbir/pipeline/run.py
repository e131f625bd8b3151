"""One ingest run: the images of a source are embedded, written to every store and published."""

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path, PurePosixPath
from types import FrameType

from cbir.errors import UsageError
from cbir.index.generation import Plan
from cbir.index.names import check_collection, collection_name
from cbir.index.stored_ids import StoredIds
from cbir.models.card import ModelRef
from cbir.models.embedder import load_embedder
from cbir.models.runtime import cores
from cbir.pipeline.copies import Copies
from cbir.pipeline.report import IngestReport
from cbir.pipeline.reuse import find_in
from cbir.pipeline.workers import ChunkResult, Embedding, embed_all, unbroken
from cbir.pipeline.writers import Target, failed_in_all, open_targets, publish_all, stored_in_all
from cbir.progress import Progress, silent
from cbir.records import Failure, Item, id_bytes, point_id
from cbir.settings import Settings
from cbir.sources.base import BadRow, Items, Source
from cbir.stores.base import Catalog
from cbir.text import redacted

log = logging.getLogger(__name__)

_ROUNDING = 1e-9


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
            refused: the source may be a wrong or an incomplete one.
        dry_run: Change nothing, and report what the run would do. The collection must exist.
    """

    remove_missing: bool = False
    retry_failed: bool = False
    skip_duplicates: bool = False
    near_duplicates: int | None = None
    partial: bool = False
    max_delete: float = 0.2
    dry_run: bool = False


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
    embedder = load_embedder(model_file, settings, settings.threads)
    model = embedder.ref
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
        provider=embedder.provider,
        other_files=source.other_files,
        dry_run=policy.dry_run,
    )
    limit = settings.max_image_megapixels
    with open_targets(catalogs, plan, model_file, limit, same_source=dataset is not None) as targets:
        report.resumed = max(target.writer.resumed for target in targets)
        if report.resumed:
            log.info("continuing the last run: %s images are embedded already", f"{report.resumed:,}")
        for target in targets:
            if source.total is not None:
                target.writer.require_free_space(max(0, source.total - len(target.writer.stored_ids)))
        embedding = Embedding(
            embedder,
            name,
            stored_in_all(targets),
            limit,
            {} if policy.retry_failed else failed_in_all(targets),
            source.unique_keys,
            find_in([(target.journal.ids_with, target.writer.points) for target in targets]),
            dry_run=policy.dry_run,
        )
        report.seconds["open"], core = time.perf_counter() - started, time.process_time()
        try:
            with stop_signals():
                try:
                    _fill(source, embedding, targets, policy, report, progress)
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
) -> None:
    """Write the source's images to the targets, and count them in the report."""
    bad_rows: list[str] = []
    source = replace(source, items=Items(partial(_note_bad_rows, source.items, bad_rows)))
    source_ids = cache(partial(_source_ids, source, embedding.dataset))

    def in_source(key: str) -> bool:
        # a source of which only a part is read is taken to have every image
        return not source.complete or point_id(embedding.dataset, key) in source_ids()

    if policy.remove_missing and source.complete:
        ids = source_ids()  # finds the bad rows, too
        for target in targets if not bad_rows else ():
            _check_removal(target, ids, in_source, source, policy)
    written = () if policy.dry_run else targets
    copies_seen = Copies(targets[0].journal, policy.near_duplicates, targets[0].writer.thumbnails(), in_source)
    failed_before = {image_id for target in targets for image_id in target.journal.failures}
    results = embed_all(source.items, embedding, report.workers, report.batch_size, ordered=policy.skip_duplicates)
    done = min(report.resumed, source.total or 0)
    with progress("embedding", source.total, done=done) as advance:
        for result in results:
            start = time.perf_counter()
            copies = _copies(result, copies_seen, policy, report)
            points = [point for point in result.points if point.id not in copies]
            failures = [failure for failure in result.failures if not failure.failed_at]
            refused = {failure.id: failure for target in written for failure in target.write(points, failures)}
            flushed = [target.flush_if_due() for target in written]
            if any(flushed[:1]):
                copies_seen.committed()  # by the first target's journal
            for target in targets:
                for image_id in result.ids:
                    target.writer.stored_ids.mark(image_id)
            failed_before.difference_update(result.ids)
            report.add(result)
            report.stored += len(points) - len(refused)
            stored = targets[0].writer.stored_ids
            report.reused += sum(point.id in result.reused and point.id not in refused for point in points)
            report.changed += sum(point.id in stored and point.id not in refused for point in points)
            report.skip([*result.failures, *refused.values(), *copies.values()])
            report.seconds["store"] += time.perf_counter() - start
            caught_up = min(done, result.unchanged)  # the progress started with these
            done -= caught_up
            advance(result.read - caught_up)
    if source.complete:
        if not bad_rows:
            _note_missing(targets, policy, report)
        elif policy.remove_missing:
            rows = f"rows of {source.origin} cannot be read, such as {bad_rows[0]}"
            log.warning("warning: nothing is removed, because %s. Correct them, and run sync again.", rows)
        for target in written:
            target.flush()
            target.journal.commit(forgotten=failed_before)


def _note_bad_rows(items: Iterable[Item], bad_rows: list[str]) -> Iterator[Item]:
    """Yield the items, and add the keys of those whose row cannot be read to `bad_rows`: no image counts as missing."""
    for item in items:
        if isinstance(item.read, BadRow):
            bad_rows.append(item.key)
        yield item


def _source_ids(source: Source, dataset: str) -> StoredIds:
    """Go through the source, and return the ids of its images."""
    return StoredIds.of((id_bytes(point_id(dataset, item.key)), "", "") for item in unbroken(source.items))


def _check_removal(
    target: Target, source_ids: StoredIds, in_source: Callable[[str], bool], source: Source, policy: Policy
) -> None:
    """Raise `UsageError` if the source lacks more of the stored images than may be removed; a dry run only warns.

    Images below a folder that could not be listed, which the source has under the folder's name, are not missing.
    """
    stored = target.writer.stored_ids
    keys = target.journal.keys(stored.without(source_ids)).values()
    missing = sum(not any(in_source(str(folder)) for folder in PurePosixPath(key).parents) for key in keys)
    if missing <= policy.max_delete * len(stored) + _ROUNDING:
        return
    refused = (
        f"sync would remove {missing:,} of {len(stored):,} points from {target.writer.name}, more than"
        f" {policy.max_delete:.0%}. Is {source.origin} the right source, and complete? --dry-run lists the points, and"
        f" --max-delete {math.ceil(100 * missing / len(stored))}% removes them."
    )
    if not policy.dry_run:
        raise UsageError(refused)
    log.warning("warning: %s", refused)


def _copies(result: ChunkResult, seen: Copies, policy: Policy, report: IngestReport) -> dict[str, Failure]:
    """Count the points that are copies, and return those that are not to be stored."""
    found: dict[str, Failure] = {}
    for point in result.points:
        copied = seen.original(point)
        if copied is None:
            continue
        key, (original, how) = str(point.payload["key"]), copied
        report.duplicates += 1
        report.copies.append({"key": key, "original": original, "how": how})
        if policy.skip_duplicates:
            found[point.id] = Failure(point.id, key, f"a copy of {original} ({how})")
    return found


def _note_missing(targets: Sequence[Target], policy: Policy, report: IngestReport) -> None:
    """Count stored images that the source no longer has, and remove them if the policy says so.

    An image below a folder that could not be listed is not missing.
    """
    unlisted = tuple("" if failure["key"] == "." else f"{failure['key']}/" for failure in report.failures)
    for target in targets:
        unmarked = target.journal.keys(target.writer.stored_ids.unmarked())
        missing = {image_id: key for image_id, key in unmarked.items() if not key.startswith(unlisted)}
        report.missing = max(report.missing, len(missing))
        if policy.remove_missing and missing:
            if not policy.dry_run:
                target.delete(list(missing))
            report.removed = max(report.removed, len(missing))
            report.removed_keys = sorted({*report.removed_keys, *missing.values()})
