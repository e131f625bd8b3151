"""One ingest run: a source through the pipeline into every store, and what came of it."""

import logging
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from cbir.index.generation import Plan
from cbir.index.names import check_collection, collection_name
from cbir.models.card import ModelRef
from cbir.models.embedder import load_embedder
from cbir.models.runtime import cores
from cbir.pipeline.copies import Copies
from cbir.pipeline.report import IngestReport
from cbir.pipeline.workers import ChunkResult, Embedding, embed_all
from cbir.pipeline.writers import Target, failed_in_all, open_targets, publish_all, stored_in_all
from cbir.progress import Progress, silent
from cbir.records import Failure
from cbir.settings import Settings
from cbir.sources.base import Source
from cbir.stores.base import Catalog
from cbir.text import redacted

log = logging.getLogger(__name__)

FLUSH_SECONDS = 2.0


@dataclass(frozen=True)
class Policy:
    """What to do with images that are not simply new.

    Example:
        >>> new = cbir.open("./unique", "unique", create=True)
        >>> report = new.add(["query.png", "query.png"], keys=["a", "b"], policy=cbir.Policy(skip_duplicates=True))
        >>> report.stored, report.skipped
        (1, 1)

    Attributes:
        remove_missing: Remove what is stored and not in the source any more.
        retry_failed: Try again what failed in an earlier run though its file is the same.
        skip_duplicates: Leave out copies of images that are stored.
        near_duplicates: Count as a copy, too, what differs from another image in at most so many of 64 bits of its
            perceptual hash; None: only the same bytes.
        partial: Other processes store the rest of the data set: on a server the collection is not declared complete.
    """

    remove_missing: bool = False
    retry_failed: bool = False
    skip_duplicates: bool = False
    near_duplicates: int | None = None
    partial: bool = False


DEFAULT_POLICY = Policy()


class Interrupted(KeyboardInterrupt):
    """A signal ended a run early; `report` says what was stored, and the same call finishes the rest."""

    def __init__(self, report: IngestReport):
        super().__init__(f"interrupted: {report.stored:,} images were stored; the same call finishes the rest")
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
    """Embed the images of `source` that the stores do not have, store and publish them.

    SIGINT, SIGTERM and SIGHUP end the run early: what was stored is kept, `interrupted` is set, and the same call
    finishes the rest.

    Args:
        source: The images.
        catalogs: Where to store them.
        model_file: The model.
        settings: Workers, batch size, the limit on pixels and the like.
        collection: Name of the collection; data set and model if None.
        dataset: Name of the data set, if it is not the source's; then the origin may be another than before.
        policy: What to do with images that are not simply new.
        progress: Shows the progress.

    Raises:
        UsageError: A store, model or collection does not fit; nothing was changed.
        DiskFullError: A disk has no room, or filled; what was stored is kept.
        CbirError: The source or a store failed; what was stored is kept.
    """
    started = time.perf_counter()
    if collection is not None:
        check_collection(collection)
    embedder = load_embedder(model_file, settings, settings.threads)
    model = embedder.ref
    if model.random_weights:
        log.warning("warning: %s has random weights; its results mean nothing", model.name)
    name = dataset or source.name
    plan = Plan(collection or _free_name(name, model, catalogs), name, source.origin, model, None)
    report = IngestReport(
        plan.collection,
        [redacted(url) for catalog in catalogs for url in catalog.urls],
        workers=settings.workers or max(1, cores() // settings.threads),
        threads=settings.threads,
        batch_size=settings.batch_size,
        provider=embedder.provider,
    )
    limit = settings.max_image_megapixels
    with open_targets(catalogs, plan, model_file, limit, same_source=dataset is not None) as targets:
        report.resumed = max(target.writer.resumed for target in targets)
        if report.resumed:
            log.info("going on where the last run stopped: %s images are embedded already", f"{report.resumed:,}")
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
        )
        report.seconds["open"], core = time.perf_counter() - started, time.process_time()
        try:
            with stop_signals():
                try:
                    _fill(source, embedding, targets, policy, report, progress)
                    del embedder, embedding  # the model's memory, before the engines take theirs
                finally:
                    for target in targets:
                        target.flush()
                start, report.seconds["core"] = time.perf_counter(), time.process_time() - core
                publish_all(targets, progress, policy.partial)
                report.seconds["build"] = time.perf_counter() - start
        except KeyboardInterrupt:
            report.interrupted = True
        finally:
            report.finish(started)
    return report


@contextmanager
def stop_signals() -> Iterator[None]:
    """Let the first SIGINT, SIGTERM or SIGHUP raise `KeyboardInterrupt`, unless it is ignored, as under nohup.

    Those that follow are not heard: what is being written down then takes a moment. Only the main thread can hear
    signals; in others this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = [
        name for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(name) is not signal.SIG_IGN
    ]
    before = {name: signal.getsignal(name) for name in heard}

    def stop(number: int, frame: FrameType | None) -> None:
        for name in heard:
            signal.signal(name, signal.SIG_IGN)
        raise KeyboardInterrupt

    for name in heard:
        signal.signal(name, stop)
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _free_name(dataset: str, model: ModelRef, catalogs: Sequence[Catalog]) -> str:
    """Return the usual name, or, where another model of the same name has it in a store, one for this model."""
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
    last_flush = time.monotonic()
    copies_seen = Copies(targets[0].journal, policy.near_duplicates, targets[0].writer.thumbnails())
    failed_before = {point_id for target in targets for point_id in target.journal.failures}
    results = embed_all(source.items, embedding, report.workers, report.batch_size, ordered=policy.skip_duplicates)
    done = min(report.resumed, source.total or 0)
    with progress("embedding", source.total, done=done) as advance:
        for result in results:
            start = time.perf_counter()
            copies = _copies(result, copies_seen, policy, report)
            points = [point for point in result.points if point.id not in copies]
            failures = [failure for failure in result.failures if not failure.failed_at]
            refused = {failure.id: failure for target in targets for failure in target.write(points, failures)}
            if time.monotonic() - last_flush >= FLUSH_SECONDS:
                for target in targets:
                    target.flush()
                copies_seen.committed()
                last_flush = time.monotonic()
            for point_id in result.ids:
                for target in targets:
                    target.writer.stored_ids.mark(point_id)
            failed_before.difference_update(result.ids)
            report.add(result)
            report.stored += len(points) - len(refused)
            stored = targets[0].writer.stored_ids
            report.changed += sum(point.id in stored and point.id not in refused for point in points)
            report.skip([*result.failures, *refused.values(), *copies.values()])
            report.seconds["store"] += time.perf_counter() - start
            caught_up = min(done, result.unchanged)  # the bar started with these
            done -= caught_up
            advance(result.read - caught_up)
    if source.complete:
        _note_missing(targets, policy, report)
        for target in targets:
            target.flush()
            target.journal.commit(forgotten=failed_before)


def _copies(result: ChunkResult, seen: Copies, policy: Policy, report: IngestReport) -> dict[str, Failure]:
    """Count the points that are copies, and return those to leave out."""
    found: dict[str, Failure] = {}
    for point in result.points:
        original = seen.original(point)
        if original is None:
            continue
        key = str(point.payload["key"])
        report.duplicates += 1
        report.copies.append({"key": key, "original": original.key, "how": original.how})
        if policy.skip_duplicates:
            found[point.id] = Failure(point.id, key, f"a copy of {original.key} ({original.how})")
    return found


def _note_missing(targets: Sequence[Target], policy: Policy, report: IngestReport) -> None:
    """Count what the source has no more, and remove it if asked to; what lies in a folder that failed is not gone."""
    closed = tuple("" if failure["key"] == "." else f"{failure['key']}/" for failure in report.failures)
    for target in targets:
        gone = target.journal.keys(target.writer.stored_ids.unmarked())
        lost = {point_id: key for point_id, key in gone.items() if not key.startswith(closed)}
        report.missing = max(report.missing, len(lost))
        if policy.remove_missing and lost:
            target.delete(list(lost))
            report.removed = max(report.removed, len(lost))
            report.removed_keys = sorted({*report.removed_keys, *lost.values()})
