"""Made-up images whose vectors are clustered like those of photos, a model that embeds them in no time, and points."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from PIL import Image

from cbir.index.generation import Plan
from cbir.models.embedder import load_embedder
from cbir.pipeline.writers import open_targets, publish_all
from cbir.progress import Advance, silent
from cbir.records import Item, Payload, Point, digest, full_payload, point_id
from cbir.settings import Settings
from cbir.stores.registry import connect_all

from ..core.synthetic import LATENT, NOISE, clustered, latent, rotation
from .onnx_writer import cast, made_up_card, node, tensor, write_model

COLLECTION = "growth"
PART = 100
"""The number of points that have the same value of the field `part`."""

_SIDE = 8
_INPUTS = 3 * _SIDE**2
_GREY, _SCALE = 128.0, 24.0
_THUMBNAIL = bytes(range(256)) * 8
_BATCH = 1000
_VALUES = {"label": 10, "category": 7, "article": 143, "colour": 46, "gender": 5, "season": 4, "usage": 8}
"""The fields of a shop's images, with their numbers of different values."""


@dataclass(frozen=True)
class Images:
    """Image files in memory, with the arguments of `Collection.add` that belong to them."""

    files: list[bytes]
    keys: list[str]
    payloads: list[Payload]


def write_fast_model(folder: Path, dimension: int) -> Path:
    """Write and return a model file that multiplies the pixels of a tiny image by a matrix."""
    noise = np.random.default_rng(2).standard_normal((_INPUTS - LATENT, dimension), np.float32)
    matrix = np.concatenate([rotation(dimension), NOISE / np.sqrt(_INPUTS - LATENT, dtype=np.float32) * noise])
    nodes = [
        cast("images", "floats"),
        node("Flatten", "floats", "pixels"),
        node("Gemm", "pixels matrix bias", "features"),
        node("LpNormalization", "features", "embeddings"),
    ]
    card = made_up_card("made-up", dimension, _SIDE, seed=0)
    constants = [tensor("matrix", matrix), tensor("bias", -_GREY * matrix.sum(axis=0))]
    return write_model(folder / f"made-up-{dimension}.onnx", card, nodes, constants)


def new_images(count: int, seed: int) -> Images:
    """Return new images; the same for the same seed."""
    rng = np.random.default_rng([seed, count])
    noise = rng.standard_normal((count, _INPUTS - LATENT))
    values = np.concatenate([latent(count, rng), noise], axis=1)
    pixels = (_GREY + _SCALE * values).round().clip(0, 255).astype(np.uint8).reshape(count, _SIDE, _SIDE, 3)
    keys = [f"new {seed} {number}" for number in range(count)]
    return Images(list(map(_png, pixels)), keys, [payload_of(key, seed, number) for number, key in enumerate(keys)])


def payload_of(key: str, seed: int, number: int) -> dict[str, Any]:
    """Return fields such as those of a shop's image; `PART` numbers in a row have the same `part`."""
    fields = {name: f"{name} {crc32(f'{name} {seed} {number}'.encode()) % count}" for name, count in _VALUES.items()}
    return {"part": number // PART, "title": f"image {key}", **fields}


def write_files(folder: Path, images: Images) -> Path:
    """Write images as the files of a folder, one folder for each class."""
    for file, key, payload in zip(images.files, images.keys, images.payloads, strict=True):
        path = folder / payload["label"] / f"{key}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file)
    return folder


def write_table(path: Path, images: Images) -> Path:
    """Write images and their fields as a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = zip(images.files, images.keys, images.payloads, strict=True)
    pq.write_table(pa.Table.from_pylist([{"image": file, "key": key, **fields} for file, key, fields in rows]), path)
    return path


def fill(urls: Sequence[str], count: int, model_file: Path, settings: Settings, advance: Advance) -> None:
    """Store and publish clustered vectors as the collection `COLLECTION`, without images."""
    model = load_embedder(model_file, settings).ref
    plan = Plan(COLLECTION, COLLECTION, COLLECTION, model, None)
    catalogs = connect_all(urls, settings)
    with open_targets(catalogs, plan, model_file, settings.max_image_megapixels) as (target,):
        for start in range(0, count, _BATCH):
            size = min(_BATCH, count - start)
            vectors = clustered(size, model.dimension, seed=start + 1)
            target.write([_point(start + i, vector) for i, vector in enumerate(vectors)], [])
            advance(size)
        target.flush()
        publish_all([target], silent)


def _point(number: int, vector: np.ndarray) -> Point:
    key = str(number)
    fields = payload_of(key, 0, number)
    payload = full_payload(Item(key, bytes, fields.pop("label"), fields), f"{number:064x}")
    return Point(point_id(COLLECTION, key), vector, payload, "", _THUMBNAIL, digest(payload))


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
