"""The processor time of this machine for an image and for a vector: images are embedded, and small indexes built."""

import math
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cbir.errors import UsageError
from cbir.index.log_format import segment_path
from cbir.index.log_writer import LogWriter
from cbir.index.vector_log import VectorLog
from cbir.models.embedder import Embedder
from cbir.pipeline.workers import Embedding, embed_all
from cbir.progress import Advance
from cbir.records import Item, Point, Vector, digest, point_id, to_json
from cbir.settings import Settings

from ..core.disk import disk_bytes
from ..core.stores import engine_of
from ..core.synthetic import clustered

IMAGES = 128
PROBE_BYTES = 20 * 2**20  # of vectors: twice what Qdrant needs to build a graph (its `indexing_threshold`)
PROBE_POINTS = 200_000  # at most, for short vectors
_BATCH = 1000


@dataclass(frozen=True)
class ImageCosts:
    """What an image of a source needs on average: processor time from file to vector, and the bytes that are kept."""

    source: str
    count: int
    core_seconds: float
    thumbnail_bytes: float
    payload_bytes: float


@dataclass(frozen=True)
class IndexCosts:
    """What an embedded index of so many made-up vectors needed; `core_seconds` is the time to build it."""

    name: str
    points: int
    core_seconds: float
    disk_bytes: float
    access: str


def probe_images(items: Sequence[Item], source: str, embedder: Embedder, settings: Settings) -> ImageCosts:
    """Take images from file to point as an ingest does, and return the costs. `embedder` should have one thread."""
    side = embedder.card.input.size
    embedder.run(np.zeros((1, side, side, 3), np.uint8))  # the first run is slow
    embedding = Embedding(embedder, "plan", lambda *version: False, settings.max_image_megapixels)
    start = time.process_time()
    results = embed_all(items, embedding, 1, settings.batch_size)
    points = [point for result in results for point in result.points]
    seconds = time.process_time() - start
    if not points:
        raise UsageError(f"{source}: none of its first {len(items)} images can be decoded. Name another --data.")
    thumbnails = [len(point.thumbnail) for point in points]
    payloads = [len(to_json(point.payload).encode()) for point in points]
    count = len(points)
    return ImageCosts(source, count, seconds / count, float(np.mean(thumbnails)), float(np.mean(payloads)))


def probe_indexes(urls: Sequence[str], dimension: int, advance: Advance) -> list[IndexCosts]:
    """Build a small index of made-up vectors with the engine of each URL, and return the costs."""
    engines = [engine_of(url, dimension) for url in urls]
    points = min(PROBE_POINTS, math.ceil(PROBE_BYTES / (4 * dimension)))
    found = []
    with tempfile.TemporaryDirectory(prefix="cbir-plan-") as root:
        log = write_log(Path(root) / "log", points, dimension)
        for number, (name, module, options) in enumerate(engines):
            folder = Path(root) / str(number)
            start = time.process_time()
            module.build(folder, log, options, lambda count: None)
            seconds = time.process_time() - start
            with closing(module.open_index(folder, log, options)) as index:
                access = index.access
            found.append(IndexCosts(name, points, seconds, disk_bytes(folder), access))
            advance(1)
    return found


def write_log(folder: Path, count: int, dimension: int) -> VectorLog:
    """Write a vector log of `count` clustered vectors without thumbnails, and open it."""
    with closing(LogWriter(segment_path(folder, 1), dimension)) as writer:
        for start in range(0, count, _BATCH):
            vectors = clustered(min(_BATCH, count - start), dimension, seed=start)
            writer.append([_point(number, vector) for number, vector in enumerate(vectors, start)])
    return VectorLog(folder, dimension)


def _point(number: int, vector: Vector) -> Point:
    payload = {"key": str(number), "label": "made up"}
    return Point(point_id("made up", str(number)), vector, payload, "", b"", digest(payload))
