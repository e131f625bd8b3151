"""The pipeline: items in, points out, in order, with bounded queues.

Each worker thread takes a chunk of items through all stages (read, decode, embed with a one-thread session), so
decoding and model overlap on every core without handing pictures from thread to thread. An item never
shares the fate of its chunk.
"""

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
from PIL import Image

from cbir.errors import CbirError, ImageError
from cbir.images import thumbnail
from cbir.model import Embedder
from cbir.records import Item, Point, digest, full_payload, plain, point_id

LOOK_AHEAD = 2
"""Chunks that wait, finished or not started, for each worker."""

IsStored = Callable[[str, str, str | None], bool]
"""(id, version, payload digest or None while unread) -> True if every store has this very image already."""


@dataclass(frozen=True)
class Skip:
    """An image that could not be stored, and why."""

    key: str
    reason: str


@dataclass
class ChunkResult:
    """What became of the items of a chunk; `keys` are those of its own, `seconds` by stage, as spent in its thread."""

    read: int = 0
    keys: list[str] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)
    unchanged: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("read", "decode", "embed"), 0.0))


@dataclass(frozen=True)
class Embedding:
    """All that turns an item into a point."""

    embedder: Embedder
    dataset: str
    is_stored: IsStored
    max_megapixels: float


def embed_all(items: Iterable[Item], embedding: Embedding, workers: int, batch_size: int) -> Iterator[ChunkResult]:
    """Yield the results of the items' chunks in order, at most `workers * (1 + LOOK_AHEAD)` chunks ahead.

    Raises:
        CbirError: The source broke off; what came before has been yielded.
    """
    chunks = _chunks(items, batch_size)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="embed")
    pending: deque[tuple[ChunkResult, Future[ChunkResult]]] = deque()
    broken: CbirError | None = None
    try:
        while True:
            while broken is None and len(pending) < workers * (1 + LOOK_AHEAD):
                try:
                    chunk = next(chunks, None)
                except CbirError as error:
                    broken = error
                    break
                if chunk is None:
                    break
                fresh, result = chunk
                pending.append((result, pool.submit(_embed_chunk, fresh, embedding)))
            if not pending:
                break
            head, future = pending.popleft()
            yield _joined(head, future.result())
    finally:
        pool.shutdown(cancel_futures=True)
    if broken is not None:
        raise broken


def _chunks(items: Iterable[Item], size: int) -> Iterator[tuple[list[Item], ChunkResult]]:
    """Yield (items to work on, result so far): keys seen before in this run are skipped here."""
    stream, seen = _unbroken(items), set[str]()
    while True:
        start = time.perf_counter()
        result, fresh = ChunkResult(), []
        broken: CbirError | None = None
        for item in islice(stream, size):
            if isinstance(item, CbirError):
                broken = item
                break
            result.read += 1
            if item.key in seen:
                result.skips.append(
                    Skip(plain(item.key), "its key was there before in this run (choose another --key)")
                )
            else:
                seen.add(item.key)
                result.keys.append(item.key)
                fresh.append(item)
        result.seconds["read"] = time.perf_counter() - start
        if result.read:
            yield fresh, result
        if broken is not None:
            raise broken
        if not result.read:
            return


def _unbroken(items: Iterable[Item]) -> Iterator[Item | CbirError]:
    """Yield the items, and as the last one the error if the source breaks off, so that no item before it is lost."""
    count = 0
    try:
        for item in items:
            yield item
            count += 1
    except CbirError as error:
        yield error
    except Exception as error:  # whatever the source's library raises for a broken shard
        yield CbirError(f"the source broke off after {count:,} images: {error}")


def _embed_chunk(items: Sequence[Item], embedding: Embedding) -> ChunkResult:
    result = ChunkResult()
    ready: list[tuple[Point, np.ndarray]] = []
    for item in items:
        try:
            prepared = _prepare(item, embedding, result.seconds)
        except (ImageError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            result.skips.append(Skip(plain(item.key), reason))
            continue
        if prepared is None:
            result.unchanged += 1
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
            result.skips.append(Skip(str(point.payload["key"]), "the model gave no finite vector of length 1"))
    return result


def _prepare(item: Item, embedding: Embedding, seconds: dict[str, float]) -> tuple[Point, np.ndarray] | None:
    """Return the point still without its vector, and the model's input; None if it is stored already."""
    identity = point_id(embedding.dataset, item.key)
    if embedding.is_stored(identity, item.version, None):
        return None
    with _timed(seconds, "read"):
        data = item.read()
        payload = full_payload(item, hashlib.sha256(data).hexdigest())
        payload_digest = digest(payload)
    if embedding.is_stored(identity, item.version, payload_digest):
        return None
    with _timed(seconds, "decode"):
        image: Image.Image = embedding.embedder.decode(data, embedding.max_megapixels)
        pixels = embedding.embedder.pixels(image)
        small = thumbnail(image, data)
    point = Point(identity, np.empty(0, np.float32), payload, item.version, small, payload_digest)
    return point, pixels


def _joined(first: ChunkResult, second: ChunkResult) -> ChunkResult:
    return ChunkResult(
        first.read + second.read,
        first.keys + second.keys,
        first.points + second.points,
        first.skips + second.skips,
        first.unchanged + second.unchanged,
        {stage: first.seconds[stage] + second.seconds[stage] for stage in first.seconds},
    )


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] += time.perf_counter() - start
