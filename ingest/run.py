"""One ingest run: a source through the pipeline into every store, and what came of it."""

import logging
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cbir import terminal
from cbir.generation import Plan, check_collection, collection_name
from cbir.model import Embedder, cores
from cbir.records import Point, point_id
from cbir.settings import Settings
from cbir.sources import Source
from cbir.stores import locate, parse, redacted

from .builder import IndexBuilder
from .pipeline import ChunkResult, Embedding, embed_all

log = logging.getLogger(__name__)

FLUSH_SECONDS = 2.0


class Sink(Protocol):
    """Where points go: an index folder or a server collection."""

    known: Mapping[str, tuple[str, str]]
    resumed: int

    @property
    def needs_publishing(self) -> bool:
        """True if readers would see something new after `publish`."""

    def write(self, points: Sequence[Point]) -> None:
        """Take points; they outlive this process."""

    def flush(self) -> None:
        """Return when all points outlive the machine."""

    def publish(self, progress: Callable[[str, int], Callable[[int], None]]) -> object:
        """Make what was written the collection that readers see."""

    def close(self) -> None:
        """Release what is held; nothing written is lost."""


@dataclass
class Summary:
    """What came of a run.

    Attributes:
        read: Images the source gave; read = stored + unchanged + skipped.
        stored: Images embedded and stored by this run.
        unchanged: Images that every store had already.
        gone: Images that are stored, but were not in the source, if all of it was read.
        skipped: Images that could not be stored; `reasons` counts them, `failures` names them.
        images_per_second: stored / seconds["total"].
        seconds: Where the time went. read, decode and embed are thread time divided by the workers; store is
            writing, build is building and publishing the indexes.
        provider: What ran the model: onnxruntime's own code for the processor, or OpenVINO.
        peak_megabytes: Most memory that this process, and the largest of those that built an index, ever had.
    """

    collection: str
    stores: list[str]
    read: int = 0
    stored: int = 0
    unchanged: int = 0
    gone: int = 0
    skipped: int = 0
    images_per_second: float = 0.0
    seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("read", "decode", "embed", "store", "build", "total"), 0.0)
    )
    peak_megabytes: dict[str, int] = field(default_factory=dict)
    workers: int = 1
    batch_size: int = 1
    provider: str = "cpu"
    resumed: int = 0
    interrupted: bool = False
    reasons: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)

    def add(self, result: ChunkResult) -> None:
        """Count in a chunk's result."""
        self.read += result.read
        self.stored += len(result.points)
        self.unchanged += result.unchanged
        self.skipped += len(result.skips)
        self.failures += [asdict(skip) for skip in result.skips]
        for stage, spent in result.seconds.items():
            self.seconds[stage] += spent / self.workers

    def finish(self, started: float) -> None:
        """Work out the totals."""
        self.seconds["total"] = time.perf_counter() - started
        self.images_per_second = self.stored / self.seconds["total"]
        self.peak_megabytes = {"ingest": _peak(resource.RUSAGE_SELF), "build": _peak(resource.RUSAGE_CHILDREN)}
        self.reasons = dict(Counter(skip["reason"] for skip in self.failures).most_common())

    def as_json(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        rounded = {stage: round(spent, 3) for stage, spent in self.seconds.items()}
        return {**asdict(self), "images_per_second": round(self.images_per_second, 2), "seconds": rounded}


def ingest(
    source: Source,
    stores: Sequence[str],
    model_file: Path,
    settings: Settings,
    collection: str | None = None,
    dataset: str | None = None,
) -> Summary:
    """Embed what the stores lack of `source`, store it and publish it.

    SIGINT, SIGTERM and SIGHUP end the run early: what was stored is kept, `interrupted` is set, and the same call
    finishes the rest.

    Raises:
        UsageError: A store, model or collection does not fit; nothing was changed.
        CbirError: The source or a store failed; what was stored is kept.
    """
    started = time.perf_counter()
    if collection is not None:
        check_collection(collection)
    workers = settings.workers or cores()
    embedder = Embedder(model_file, threads=1)
    model = embedder.ref
    if model.random_weights:
        log.warning("warning: %s has random weights; its results mean nothing", model.name)
    name = dataset or source.name
    plan = Plan(collection or collection_name(name, model.name), name, source.origin, model, None)
    summary = Summary(
        plan.collection,
        list(map(redacted, stores)),
        workers=workers,
        batch_size=settings.batch_size,
        provider=embedder.provider,
    )
    with ExitStack() as stack:
        sinks = []
        for sink in _open_sinks(stores, plan, model_file, settings, same_source=dataset is not None):
            stack.callback(sink.close)
            sinks.append(sink)
        summary.resumed = max(sink.resumed for sink in sinks)
        if summary.resumed:
            log.info("going on where the last run stopped: %s images are embedded already", f"{summary.resumed:,}")
        embedding = Embedding(embedder, name, _stored_in_all(sinks), settings.max_image_megapixels)
        try:
            with _stop_signals():
                _fill(source, embedding, sinks, summary)
                del embedder, embedding  # the model's memory, before the engines take theirs
                _publish(sinks, summary)
        except KeyboardInterrupt:
            summary.interrupted = True
        finally:
            for sink in sinks:
                sink.flush()
            summary.finish(started)
    return summary


def _peak(whose: int) -> int:
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss counts bytes there, kilobytes elsewhere
    return resource.getrusage(whose).ru_maxrss * unit // 10**6


def _fill(source: Source, embedding: Embedding, sinks: Sequence[Sink], summary: Summary) -> None:
    last_flush = time.monotonic()
    missing = set[str]().union(*(sink.known for sink in sinks)) if source.complete else set[str]()
    with terminal.progress("embedding", source.total) as advance:
        for result in embed_all(source.items, embedding, summary.workers, summary.batch_size):
            start = time.perf_counter()
            for sink in sinks:
                sink.write([point for point in result.points if not _has(sink, point.id, point.version, point.digest)])
            if time.monotonic() - last_flush >= FLUSH_SECONDS:
                for sink in sinks:
                    sink.flush()
                last_flush = time.monotonic()
            summary.seconds["store"] += time.perf_counter() - start
            summary.add(result)
            missing.difference_update(point_id(embedding.dataset, key) for key in result.keys)
            advance(result.read)
    summary.gone = len(missing)


def _publish(sinks: Sequence[Sink], summary: Summary) -> None:
    start = time.perf_counter()
    with ExitStack() as stack:

        def progress(name: str, count: int) -> Callable[[int], None]:
            stack.close()  # the bar of the engine before
            return stack.enter_context(terminal.progress(f"building {name}", count, "points"))

        for sink in sinks:
            if sink.needs_publishing:
                sink.publish(progress)
    summary.seconds["build"] = time.perf_counter() - start


def _open_sinks(
    stores: Sequence[str], plan: Plan, model_file: Path, settings: Settings, same_source: bool
) -> Iterator[Sink]:
    """Yield one sink for each index folder and each server; all URLs are checked before the first."""
    urls = [parse(store) for store in stores]
    places = locate([url for url in urls if url.embedded])
    servers = [url for url in urls if not url.embedded]
    for root in dict.fromkeys(place.root for place in places):
        yield IndexBuilder([place for place in places if place.root == root], plan, model_file, same_source)
    for server in servers:
        from .server import ServerSink

        yield ServerSink(server.text, plan, settings, same_source)


def _has(sink: Sink, identity: str, version: str, payload_digest: str | None) -> bool:
    before = sink.known.get(identity)
    return before is not None and ((version != "" and before[0] == version) or before[1] == payload_digest)


def _stored_in_all(sinks: Sequence[Sink]) -> Callable[[str, str, str | None], bool]:
    return lambda identity, version, payload: all(_has(sink, identity, version, payload) for sink in sinks)


@contextmanager
def _stop_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the run as Ctrl-C does, unless they are ignored, as under nohup."""
    before = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGHUP)}
    heard = [name for name, handler in before.items() if handler is not signal.SIG_IGN]
    for name in heard:
        signal.signal(name, signal.default_int_handler)
    try:
        yield
    finally:
        for name in heard:
            signal.signal(name, before[name])
