"""One ingest run: a source through the pipeline into every store, and what came of it."""

import logging
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from cbir import terminal
from cbir.index.disk import full_disk_is_one_line
from cbir.index.generation import Plan, check_collection, collection_name
from cbir.models.sealed import Embedder, ModelRef, cores
from cbir.pipeline.journal import Failure
from cbir.pipeline.report import Summary
from cbir.pipeline.workers import ChunkResult, Embedding, embed_all
from cbir.pipeline.writers import Target, failed_in_all, model_of, open_targets, publish_all, stored_in_all
from cbir.search.duplicates import Duplicates
from cbir.settings import Settings
from cbir.sources.base import Source
from cbir.stores.base import redacted

log = logging.getLogger(__name__)

FLUSH_SECONDS = 2.0


@dataclass(frozen=True)
class Policy:
    """What to do with images that are not simply new.

    Attributes:
        remove_gone: Remove what is stored and not in the source any more.
        retry_failed: Try again what failed in an earlier run though its file is the same.
        skip_duplicates: Leave out copies of images that are stored.
        near_bits: Count as a copy, too, what differs from another image in at most so many of 64 bits of its perceptual
            hash; None: only the same bytes.
        partial: Other processes store the rest of the data set: on a server the collection is not declared complete.
    """

    remove_gone: bool = False
    retry_failed: bool = False
    skip_duplicates: bool = False
    near_bits: int | None = None
    partial: bool = False


AS_IT_COMES = Policy()


def ingest(
    source: Source,
    stores: Sequence[str],
    model_file: Path,
    settings: Settings,
    collection: str | None = None,
    dataset: str | None = None,
    policy: Policy = AS_IT_COMES,
) -> Summary:
    """Embed what the stores lack of `source`, store it and publish it.

    SIGINT, SIGTERM and SIGHUP end the run early: what was stored is kept, `interrupted` is set, and the same call
    finishes the rest.

    Raises:
        UsageError: A store, model or collection does not fit; nothing was changed.
        DiskFullError: A disk has no room, or filled; what was stored is kept.
        CbirError: The source or a store failed; what was stored is kept.
    """
    started = time.perf_counter()
    if collection is not None:
        check_collection(collection)
    embedder = Embedder(model_file, threads=settings.threads)
    model = embedder.ref
    if model.random_weights:
        log.warning("warning: %s has random weights; its results mean nothing", model.name)
    name = dataset or source.name
    plan = Plan(collection or _free_name(name, model, stores, settings), name, source.origin, model, None)
    summary = Summary(
        plan.collection,
        list(map(redacted, stores)),
        workers=settings.workers or max(1, cores() // settings.threads),
        threads=settings.threads,
        batch_size=settings.batch_size,
        provider=embedder.provider,
    )
    with (
        full_disk_is_one_line(),
        open_targets(stores, plan, model_file, settings, same_source=dataset is not None) as targets,
    ):
        summary.resumed = max(target.sink.resumed for target in targets)
        if summary.resumed:
            log.info("going on where the last run stopped: %s images are embedded already", f"{summary.resumed:,}")
        for target in targets:
            if source.total is not None:
                target.sink.require_room(max(0, source.total - len(target.sink.known)))
        embedding = Embedding(
            embedder,
            name,
            stored_in_all(targets),
            settings.max_image_megapixels,
            {} if policy.retry_failed else failed_in_all(targets),
            source.unique_keys,
        )
        summary.seconds["open"], core = time.perf_counter() - started, time.process_time()
        try:
            with stop_signals():
                try:
                    _fill(source, embedding, targets, policy, summary)
                    del embedder, embedding  # the model's memory, before the engines take theirs
                finally:
                    for target in targets:
                        target.flush()
                start, summary.seconds["core"] = time.perf_counter(), time.process_time() - core
                publish_all(targets, policy.partial)
                summary.seconds["build"] = time.perf_counter() - start
        except KeyboardInterrupt:
            summary.interrupted = True
        finally:
            summary.finish(started)
    return summary


@contextmanager
def stop_signals() -> Iterator[None]:
    """Let the first SIGINT, SIGTERM or SIGHUP raise `KeyboardInterrupt`, unless it is ignored, as under nohup.

    Those that follow are not heard: what is being written down then takes a moment.
    """
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


def _free_name(dataset: str, model: ModelRef, stores: Sequence[str], settings: Settings) -> str:
    """Return the usual name, or, where another model of the same name has it in a store, one for this model."""
    usual = collection_name(dataset, model.name)
    others = (model_of(store, usual, settings) for store in stores)
    if all(other is None or other.sha256 == model.sha256 for other in others):
        return usual
    return collection_name(dataset, f"{model.name}-{model.sha256[:8]}")


def _fill(source: Source, embedding: Embedding, targets: Sequence[Target], policy: Policy, summary: Summary) -> None:
    last_flush = time.monotonic()
    journal = targets[0].journal
    duplicates = Duplicates(journal, policy.near_bits, targets[0].sink.thumbnails())
    failed_before = {one for target in targets for one in target.journal.failures}
    results = embed_all(source.items, embedding, summary.workers, summary.batch_size, ordered=policy.skip_duplicates)
    done = min(summary.resumed, source.total or 0)
    with terminal.progress("embedding", source.total, done=done) as advance:
        for result in results:
            start = time.perf_counter()
            copies = _copies(result, duplicates, policy, summary)
            points = [point for point in result.points if point.id not in copies]
            failures = [one for one in result.failures if not one.at]
            refused = {one.id: one for target in targets for one in target.write(points, failures)}
            if time.monotonic() - last_flush >= FLUSH_SECONDS:
                for target in targets:
                    target.flush()
                duplicates.committed()
                last_flush = time.monotonic()
            for one in result.ids:
                for target in targets:
                    target.sink.known.mark(one)
            failed_before.difference_update(result.ids)
            summary.add(result)
            summary.stored += len(points) - len(refused)
            known = targets[0].sink.known
            summary.changed += sum(point.id in known and point.id not in refused for point in points)
            summary.skip([*result.failures, *refused.values(), *copies.values()])
            summary.seconds["store"] += time.perf_counter() - start
            caught_up = min(done, result.unchanged)  # the bar started with these
            done -= caught_up
            advance(result.read - caught_up)
    if source.complete:
        _note_gone(targets, policy, summary)
        for target in targets:
            target.flush()
            target.journal.commit(forgotten=failed_before)


def _copies(result: ChunkResult, duplicates: Duplicates, policy: Policy, summary: Summary) -> dict[str, Failure]:
    """Count the points that are copies, and return those to leave out."""
    found: dict[str, Failure] = {}
    for point in result.points:
        original = duplicates.original(point)
        if original is None:
            continue
        key = str(point.payload["key"])
        summary.duplicates += 1
        summary.copies.append({"key": key, "original": original.key, "how": original.how})
        if policy.skip_duplicates:
            found[point.id] = Failure(point.id, key, f"a copy of {original.key} ({original.how})")
    return found


def _note_gone(targets: Sequence[Target], policy: Policy, summary: Summary) -> None:
    """Count what the source has no more, and remove it if asked to; what lies in a folder that failed is not gone."""
    closed = tuple("" if one["key"] == "." else f"{one['key']}/" for one in summary.failures)
    for target in targets:
        gone = target.journal.keys(target.sink.known.unmarked())
        lost = {one: key for one, key in gone.items() if not key.startswith(closed)}
        summary.gone = max(summary.gone, len(lost))
        if policy.remove_gone and lost:
            target.delete(list(lost))
            summary.removed = max(summary.removed, len(lost))
            summary.removed_keys = sorted({*summary.removed_keys, *lost.values()})
