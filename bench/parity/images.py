"""What one picture costs: the time from file to vector, and the bytes that are kept of it."""

import hashlib
import io
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from cbir.errors import ImageError, UsageError
from cbir.images.decode import thumbnail
from cbir.models.sealed import Embedder, cores
from cbir.records import Item, Payload, full_payload, to_json
from cbir.settings import Settings
from cbir.sources.base import SourceOptions, open_source

_COUNT = 256


@dataclass(frozen=True)
class Pictures:
    """What one picture costs, on average.

    Attributes:
        count: How many were measured.
        source: Where they came from.
        core_seconds: Processor time from file to vector: read, decode, scale, thumbnail, model. All cores worked.
        file_bytes: Of the file.
        thumbnail_bytes: Of the thumbnail that is stored.
        payload_bytes: Of what is stored beside vector and thumbnail, as JSON.
        label_bytes: Of the class in it.
    """

    count: int
    source: str
    core_seconds: float
    file_bytes: float
    thumbnail_bytes: float
    payload_bytes: float
    label_bytes: float


def made_up_pictures(count: int = _COUNT, width: int = 640, height: int = 480) -> list[Item]:
    """Return JPEG pictures of waves, edges and noise: about as much work to decode as photos of that size."""
    from PIL import Image

    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
    items = []
    for number in range(count):
        planes = []
        for a, b, c in rng.uniform(1, 30, (3, 3)):
            planes.append(127 + 50 * np.sin(a * x + b * y) + 30 * np.sign(np.sin(c * (x - y))))
        pixels = np.stack(planes, axis=-1) + rng.normal(0, 6, (height, width, 3))
        buffer = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
        items.append(Item(f"{number}.jpg", partial(bytes, buffer.getvalue()), f"class {number % 10}"))
    return items


def some_pictures(data: str | None) -> tuple[list[Item], str]:
    """Return pictures to measure with, and what they are: the first of a source, or made-up ones.

    Raises:
        UsageError: There is no such source.
    """
    if data is None:
        return made_up_pictures(), "made-up JPEG of 640 x 480 pixels"
    source = open_source(data, SourceOptions(limit=_COUNT))
    return list(source.items), source.origin


def time_pictures(
    items: Sequence[Item], source: str, embedder: Embedder, settings: Settings
) -> tuple[Pictures, Payload]:
    """Take all pictures from file to vector, on all cores at once, as an ingest does; `embedder` has one thread.

    Returns:
        What that cost, and a payload of middling size.

    Raises:
        UsageError: None of them can be used.
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
    """Return the payload, the size of the file and that of the thumbnail of each picture that can be embedded."""
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
