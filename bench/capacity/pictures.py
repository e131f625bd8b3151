"""What one picture costs: the time from file to vector, and the bytes that are kept of it."""

import hashlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from cbir.errors import ImageError, UsageError
from cbir.images.decode import thumbnail
from cbir.models.embedder import Embedder
from cbir.models.runtime import cores
from cbir.records import Item, Payload, full_payload, to_json
from cbir.settings import Settings
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source

from ..core.synthetic import made_up_images

_COUNT = 256


@dataclass(frozen=True)
class Pictures:
    """What one image of `source` costs on average: processor time from file to vector, and bytes.

    `payload_bytes` is the JSON stored beside vector and thumbnail, `label_bytes` the class in it.
    """

    count: int
    source: str
    core_seconds: float
    file_bytes: float
    thumbnail_bytes: float
    payload_bytes: float
    label_bytes: float


def some_pictures(data: str | None) -> tuple[list[Item], str]:
    """Return pictures to measure with, and what they are: the first of a source, or made-up ones."""
    if data is None:
        return made_up_images(_COUNT), "made-up JPEG of 640 x 480 pixels"
    source = open_source(data, SourceOptions(limit=_COUNT))
    return list(source.items), source.origin


def time_pictures(
    items: Sequence[Item], source: str, embedder: Embedder, settings: Settings
) -> tuple[Pictures, Payload]:
    """Take all pictures from file to vector, on all cores at once, as an ingest does; `embedder` has one thread.

    Returns what that cost, and a payload of middling size.
    """
    chunks = [items[start : start + settings.batch_size] for start in range(0, len(items), settings.batch_size)]
    embed = partial(_embed, embedder=embedder, max_megapixels=settings.max_image_megapixels)
    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(embed, chunks[: cores()]))  # the first calls of a session make its plans
        start = time.process_time()
        seen = [one for part in pool.map(embed, chunks) for one in part]
        spent = time.process_time() - start
    if not seen:
        raise UsageError(f"{source}: none of its first {len(items)} pictures can be used")
    found, files, thumbnails = zip(*seen, strict=True)
    labels = [len(str(payload["label"]).encode()) for payload in found if payload["label"] is not None]
    payloads: list[Payload] = sorted(found, key=lambda payload: len(to_json(payload)))
    pictures = Pictures(
        count=len(seen),
        source=source,
        core_seconds=spent / len(seen),
        file_bytes=float(np.mean(files)),
        thumbnail_bytes=float(np.mean(thumbnails)),
        payload_bytes=float(np.mean([len(to_json(payload).encode()) for payload in payloads])),
        label_bytes=sum(labels) / len(seen),
    )
    return pictures, payloads[len(payloads) // 2]


def _embed(items: Sequence[Item], embedder: Embedder, max_megapixels: float) -> list[tuple[Payload, int, int]]:
    done: list[tuple[Payload, int, int]] = []
    pixels = []
    for item in items:
        try:
            data = item.read()
            image = embedder.decode(data, max_megapixels)
        except (ImageError, OSError):
            continue
        payload = full_payload(item, hashlib.sha256(data).hexdigest())
        pixels.append(embedder.pixels(image))
        done.append((payload, len(data), len(thumbnail(image, data))))
    if pixels:
        embedder.run(np.stack(pixels))
    return done
