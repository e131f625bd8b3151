"""The workers of an ingest: they turn items into points, with bounded queues.

Each worker thread takes a chunk of items through all stages: read, decode and embed. So decoding and the model overlap
on every core, and no image is handed from thread to thread. An item that fails does not affect the rest of its chunk.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice

import numpy as np
from PIL import Image

from cbir.errors import CbirError, ImageError
from cbir.images.decode import thumbnail
from cbir.models.embedder import Embedder
from cbir.records import Failure, Item, Point, Vector, digest, full_payload, old_digest, point_id, to_plain
from cbir.text import one_line

LOOK_AHEAD = 4
"""The chunks that wait, finished or not yet started, for each worker."""

_JOINED = 2
_SECONDS_TO_JOIN = 0.5
_SECONDS_TO_STOP = 3.0
_ROUNDING = 1e-3

IsStored = Callable[[str, str, str | None], bool]
"""Called with id, version and payload digest (None before the file is read); True if every store has this image."""

FindPoint = Callable[[str], Point | None]
"""Called with the SHA-256 of an image file; returns a stored point with its vector and thumbnail, or None."""


@dataclass
class ChunkResult:
    """The points and failures that came of a chunk of `read` items.

    Every store has `unchanged` of them already. The points whose ids are in `reused` have the vector of a stored point.
    `remembered` of the failures are of an earlier run and were not tried again. `seconds` is the thread time of each
    stage.
    """

    read: int = 0
    ids: list[str] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    unchanged: int = 0
    remembered: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("read", "decode", "embed"), 0.0))


@dataclass(frozen=True)
class Embedding:
    """How items are turned into points.

    Ids are made of the data set's name. Failures of earlier runs (`failed`) are tried again only if their file changed.
    With `unique_keys`, no two items can have the same key, and keys need not be remembered. An image for which `find`
    returns a point is not embedded. In a dry run, images are decoded, but get no vector.
    """

    embedder: Embedder
    dataset: str
    is_stored: IsStored
    max_megapixels: float
    failed: Mapping[str, Failure] = field(default_factory=dict)
    unique_keys: bool = False
    find: FindPoint = lambda sha256: None
    dry_run: bool = False
    stopping: threading.Event = field(default_factory=threading.Event)


def embed_all(
    items: Iterable[Item], embedding: Embedding, workers: int, batch_size: int, ordered: bool = False
) -> Iterator[ChunkResult]:
    """Yield the results of the items' chunks, working at most `workers * (1 + LOOK_AHEAD)` chunks ahead.

    Results of about two chunks for each worker, or of half a second, are joined into one: storing many small ones takes
    longer. If `ordered`, they are yielded one by one in the order of the items.

    Raises:
        CbirError: The source broke off; the results of all items before that have been yielded.
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
            wait(pending[: 1 if ordered else _JOINED * workers], None if ordered else _SECONDS_TO_JOIN)
            done = pending[:1] if ordered else [future for future in pending if future.done()]
            pending = [future for future in pending if future not in done]
            if done:
                yield joined([future.result() for future in done])
    except BaseException:  # includes GeneratorExit, when the caller was interrupted
        _stop(embedding, pool, pending)
        raise
    pool.shutdown()
    if broken is not None:
        raise broken


def joined(results: Sequence[ChunkResult]) -> ChunkResult:
    """Return the sum of some results; the first one is changed."""
    total, *others = results
    for result in others:
        for name in ("read", "unchanged", "remembered", "ids", "points", "reused", "failures"):
            setattr(total, name, getattr(total, name) + getattr(result, name))
        for stage, spent in result.seconds.items():
            total.seconds[stage] += spent
    return total


def _stop(embedding: Embedding, pool: ThreadPoolExecutor, pending: Sequence[Future[ChunkResult]]) -> None:
    """Stop the workers within seconds, whatever they are doing."""
    embedding.stopping.set()
    embedding.embedder.stop()
    pool.shutdown(wait=False, cancel_futures=True)
    wait(pending, timeout=_SECONDS_TO_STOP)


def _chunks(
    items: Iterable[Item], embedding: Embedding, size: int
) -> Iterator[tuple[list[tuple[str, Item]], ChunkResult]]:
    """Yield chunks of (id, item), each with its result so far. An item whose key came before in this run fails."""
    stream, seen = unbroken(items), set[str]()
    broken = None
    while broken is None:
        start = time.perf_counter()
        result, fresh = ChunkResult(), []
        try:
            for item in islice(stream, size):
                result.read += 1
                identity = point_id(embedding.dataset, item.key)
                if identity in seen:
                    reason = "another image of this run has the same key (choose another --key)"
                    result.failures.append(Failure(identity, to_plain(item.key), reason))
                    continue
                if not embedding.unique_keys or "\\" in to_plain(item.key):  # escaped characters may collide
                    seen.add(identity)
                result.ids.append(identity)
                fresh.append((identity, item))
        except CbirError as error:
            broken = error
        result.seconds["read"] = time.perf_counter() - start
        if result.read:
            yield fresh, result
        elif broken is None:
            return
    raise broken


def unbroken(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items; each library raises errors of its own for broken data, which become a `CbirError`."""
    count = 0
    try:
        for item in items:
            yield item
            count += 1
    except CbirError:
        raise
    except Exception as error:
        raise CbirError(f"the source broke off after {count:,} images: {one_line(error)}") from None


def _embed_chunk(items: Sequence[tuple[str, Item]], result: ChunkResult, embedding: Embedding) -> ChunkResult:
    """Add the points and failures of a chunk to its result."""
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
        elif isinstance(prepared, Point):
            result.points.append(prepared)
            result.reused.append(identity)
        else:
            ready.append(prepared)
    if embedding.dry_run or not ready:
        result.points += [point for point, _ in ready]
        return result
    with _timed(result.seconds, "embed"):
        vectors = embedding.embedder.run(np.stack([pixels for _, pixels in ready]))
    for (point, _), vector, unit in zip(ready, vectors, are_unit(vectors), strict=True):
        if unit:
            result.points.append(replace(point, vector=vector))
        else:
            reason = "the model returned no finite vector of length 1"
            result.failures.append(
                Failure(point.id, str(point.payload["key"]), reason, point.version, str(point.payload["sha256"]))
            )
    return result


def _prepare(
    identity: str, item: Item, embedding: Embedding, seconds: dict[str, float]
) -> tuple[Point, np.ndarray] | Point | Failure | None:
    """Return the point without its vector and the model's input, or the failure, or None if it is stored already.

    If another point of the same bytes is stored, return the complete point.
    """
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
        is_stored = partial(embedding.is_stored, identity, item.version)
        if is_stored(payload_digest) or is_stored(old_digest(payload)):
            return None
        if before and before.sha256 == sha256:
            return before
        with _timed(seconds, "read"):
            found = embedding.find(sha256)
        if found is not None:
            return Point(identity, found.vector, payload, item.version, found.thumbnail, payload_digest)
        with _timed(seconds, "decode"):
            image: Image.Image = embedding.embedder.decode(data, embedding.max_megapixels)
            pixels = embedding.embedder.pixels(image)
            small = thumbnail(image, data)
    except ImageError as error:
        return Failure(identity, to_plain(item.key), one_line(error), item.version, sha256)
    except OSError as error:  # has no version, so it is always tried again: a new permission does not change it
        return Failure(identity, to_plain(item.key), error.strerror or str(error), "", sha256)
    return Point(identity, np.empty(0, np.float32), payload, item.version, small, payload_digest), pixels


def are_unit(vectors: Vector) -> list[bool]:
    """Return which of some vectors, (N, D), have length 1; those with NaN have not."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    return (np.abs(lengths - 1) < _ROUNDING).tolist()  # type: ignore[no-any-return]


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] += time.perf_counter() - start
