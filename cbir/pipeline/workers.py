"""The pipeline: items in, points out, with bounded queues.

Each worker thread takes a chunk of items through all stages (read, decode, embed with a one-thread session), so
decoding and model overlap on every core without handing pictures from thread to thread. An item never
shares the fate of its chunk.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
from PIL import Image

from cbir.errors import CbirError, ImageError
from cbir.images.decode import thumbnail
from cbir.models.embedder import Embedder
from cbir.records import Failure, Item, Point, digest, full_payload, point_id, to_plain

LOOK_AHEAD = 2
"""Chunks that wait, finished or not started, for each worker."""

_SECONDS_TO_STOP = 3.0

IsStored = Callable[[str, str, str | None], bool]
"""(id, version, payload digest or None while unread) -> True if every store has this very image already."""


@dataclass
class ChunkResult:
    """What became of the items of a chunk; `ids` are those of its items, `seconds` by stage, as spent in its thread.

    `remembered` counts the failures that an earlier run had seen and that were not tried again.
    """

    read: int = 0
    ids: list[str] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    unchanged: int = 0
    remembered: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("read", "decode", "embed"), 0.0))


@dataclass(frozen=True)
class Embedding:
    """All that turns an item into a point.

    Attributes:
        embedder: The model.
        dataset: Name of the data set, from which ids are made.
        is_stored: Tells what need not be embedded again.
        max_megapixels: The largest picture to decode.
        failed: Failures of earlier runs that are not to be tried again unless their file changed.
        unique_keys: True if no two items can have one key, so that none need be remembered.
        stopping: Set to end the workers early.
    """

    embedder: Embedder
    dataset: str
    is_stored: IsStored
    max_megapixels: float
    failed: Mapping[str, Failure] = field(default_factory=dict)
    unique_keys: bool = False
    stopping: threading.Event = field(default_factory=threading.Event)


def embed_all(
    items: Iterable[Item], embedding: Embedding, workers: int, batch_size: int, ordered: bool = False
) -> Iterator[ChunkResult]:
    """Yield the results of the items' chunks, at most `workers * (1 + LOOK_AHEAD)` chunks ahead.

    As they are finished, so that a crash finds few embedded chunks waiting to be stored: those that finished while the
    caller stored others come as one, and so in larger lots to a store that takes long to answer. Or, for callers to
    whom it matters which of two images came first, one by one in order.

    Raises:
        CbirError: The source broke off; what came before has been yielded.
    """
    chunks: Iterator[tuple[list[tuple[str, Item]], ChunkResult]] = _chunks(items, embedding, batch_size)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="embed")
    pending: list[Future[ChunkResult]] = []
    broken: CbirError | None = None
    try:
        while True:
            try:
                while len(pending) < workers * (1 + LOOK_AHEAD) and (chunk := next(chunks, None)) is not None:
                    pending.append(pool.submit(_embed_chunk, *chunk, embedding))
            except CbirError as error:
                broken = error
            if not pending:
                break
            wait(pending[:1] if ordered else pending, return_when=FIRST_COMPLETED)
            done = pending[:1] if ordered else [future for future in pending if future.done()]
            pending = [future for future in pending if future not in done]
            yield joined([future.result() for future in done])
    except BaseException:  # GeneratorExit, too: whoever consumes this was interrupted
        _stop(embedding, pool, pending)
        raise
    pool.shutdown()
    if broken is not None:
        raise broken


def joined(results: Sequence[ChunkResult]) -> ChunkResult:
    """Return one result that says what these say."""
    whole = results[0]
    for one in results[1:]:
        for name in ("read", "unchanged", "remembered"):
            setattr(whole, name, getattr(whole, name) + getattr(one, name))
        for name in ("ids", "points", "failures"):
            getattr(whole, name).extend(getattr(one, name))
        for stage, spent in one.seconds.items():
            whole.seconds[stage] += spent
    return whole


def _stop(embedding: Embedding, pool: ThreadPoolExecutor, pending: Sequence[Future[ChunkResult]]) -> None:
    """End the workers within seconds, whatever they are doing."""
    embedding.stopping.set()
    embedding.embedder.stop()
    pool.shutdown(wait=False, cancel_futures=True)
    wait(pending, timeout=_SECONDS_TO_STOP)


def _chunks(
    items: Iterable[Item], embedding: Embedding, size: int
) -> Iterator[tuple[list[tuple[str, Item]], ChunkResult]]:
    """Yield ((id, item) to work on, result so far): keys seen before in this run are refused here."""
    stream, seen = iter(items), set[str]()
    count, broken = 0, None
    while broken is None:
        start = time.perf_counter()
        result, fresh = ChunkResult(), []
        try:
            for item in islice(stream, size):
                result.read += 1
                identity = point_id(embedding.dataset, item.key)
                if identity in seen:
                    reason = "its key was there before in this run (choose another --key)"
                    result.failures.append(Failure(identity, to_plain(item.key), reason))
                    continue
                if not embedding.unique_keys or "\\" in to_plain(item.key):  # what plain text cannot hold is escaped
                    seen.add(identity)
                result.ids.append(identity)
                fresh.append((identity, item))
        except CbirError as error:
            broken = error
        except Exception as error:  # whatever the source's library raises for a broken shard
            broken = CbirError(f"the source broke off after {count + result.read:,} images: {error}")
        result.seconds["read"] = time.perf_counter() - start
        count += result.read
        if result.read:
            yield fresh, result
        elif broken is None:
            return
    raise broken


def _embed_chunk(items: Sequence[tuple[str, Item]], result: ChunkResult, embedding: Embedding) -> ChunkResult:
    ready: list[tuple[Point, np.ndarray]] = []
    for identity, item in items:
        if embedding.stopping.is_set():
            raise CbirError("the run was stopped")
        prepared = _prepare(identity, item, embedding, result.seconds)
        if prepared is None:
            result.unchanged += 1
        elif isinstance(prepared, Failure):
            result.failures.append(prepared)
            result.remembered += prepared is embedding.failed.get(identity)
        else:
            ready.append(prepared)
    if not ready:
        return result
    with _timed(result.seconds, "embed"):
        vectors = embedding.embedder.run(np.stack([pixels for _, pixels in ready]))
    norms = np.linalg.norm(vectors, axis=1)
    for (point, _), vector, norm in zip(ready, vectors, norms, strict=True):
        if abs(norm - 1) < 1e-3:  # false for NaN as well
            result.points.append(replace(point, vector=vector))
        else:
            reason = "the model gave no finite vector of length 1"
            result.failures.append(
                Failure(point.id, str(point.payload["key"]), reason, point.version, str(point.payload["sha256"]))
            )
    return result


def _prepare(
    identity: str, item: Item, embedding: Embedding, seconds: dict[str, float]
) -> tuple[Point, np.ndarray] | Failure | None:
    """Return the point still without its vector, and the model's input; None if it is stored already."""
    if embedding.is_stored(identity, item.version, None):
        return None
    before = embedding.failed.get(identity)
    if before and before.version and before.version == item.version:
        return before
    sha256 = ""
    try:
        with _timed(seconds, "read"):
            data = item.read()
            sha256 = hashlib.sha256(data).hexdigest()
            payload = full_payload(item, sha256)
            payload_digest = digest(payload)
        if embedding.is_stored(identity, item.version, payload_digest):
            return None
        if before and before.sha256 == sha256:
            return before
        with _timed(seconds, "decode"):
            image: Image.Image = embedding.embedder.decode(data, embedding.max_megapixels)
            pixels = embedding.embedder.pixels(image)
            small = thumbnail(image, data)
    except ImageError as error:
        return Failure(identity, to_plain(item.key), str(error), item.version, sha256)
    except OSError as error:  # tried again each time: what mends it, a permission say, leaves the version as it is
        return Failure(identity, to_plain(item.key), error.strerror or str(error), "", sha256)
    return Point(identity, np.empty(0, np.float32), payload, item.version, small, payload_digest), pixels


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] += time.perf_counter() - start
