"""Small collections of made-up vectors, for tests that need no images."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cbir.index.generation import Plan
from cbir.index.vector_log import VectorLog
from cbir.models.card import ModelRef
from cbir.models.sealed import BLANK_CHECKSUM, CHECKSUM_FIELD, checksum_of, find_model, seal
from cbir.progress import Advance, silent
from cbir.records import Point, Vector, digest, point_id
from cbir.settings import Settings
from cbir.stores.base import Catalog
from cbir.stores.embedded.build import check
from cbir.stores.embedded.writer import LocalWriter
from cbir.stores.engines import ENGINES
from cbir.stores.qdrant.writer import QdrantWriter
from cbir.stores.registry import connect, connect_all
from cbir.stores.url import locate, parse

DIMENSION = 8
MODEL_FILE = find_model("efficientnet_lite0")
MODEL = ModelRef("made-up", checksum_of(MODEL_FILE.read_bytes()), DIMENSION, 1, random_weights=True)

_field = CHECKSUM_FIELD.encode()
TINY_MODEL = seal(b"\x0a" + bytes([len(_field)]) + _field + b"\x12\x40" + BLANK_CHECKSUM.encode())
"""The bytes of a model file that is read in no time, for tests that embed nothing."""


def unit_vectors(count: int, seed: int = 0, dimension: int = DIMENSION) -> Vector:
    """Return (count, dimension) random unit vectors."""
    vectors = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def points_of(vectors: Vector, version: str = "1") -> list[Point]:
    """Return a point for each vector; its key is its number."""
    points = []
    for number, vector in enumerate(vectors):
        payload = {"key": str(number), "label": f"class {number % 3}", "sha256": f"{number} {version}"}
        thumbnail = f"thumbnail {number}".encode()
        points.append(Point(point_id("set", str(number)), vector, payload, version, thumbnail, digest(payload)))
    return points


def plan_for(vectors: Vector, collection: str = "made") -> Plan:
    """Return the plan of a collection of such vectors."""
    model = ModelRef(MODEL.name, MODEL.sha256, vectors.shape[1], 1, random_weights=True)
    return Plan(collection, "set", "nowhere", model, None)


def builder_for(stores: list[str], vectors: Vector, collection: str = "made") -> LocalWriter:
    """Return a builder; all stores lie in one index folder."""
    places = locate([parse(store) for store in stores])
    return LocalWriter(places[0].root, places, plan_for(vectors, collection), MODEL_FILE, same_source=False)


def build_here(
    kind: str,
    folder: Path,
    log: Path,
    dimension: int,
    options: Mapping[str, str],
    advance: Advance,
    low_priority: bool = False,
) -> float | None:
    """Build and check an engine as `build_engine` does, but in this process, which takes a tenth of the time."""
    points = VectorLog(log, dimension)
    ENGINES[kind].load().build(folder, points, options, advance)
    return check(kind, folder, points, options)


def merge(root: Path, collection: str = "made") -> None:
    """Make a generation with all changes of a collection."""
    assert connect(f"edge:{root}", Settings()).optimize(collection)


def build(stores: list[str], vectors: Vector, collection: str = "made", version: str = "1") -> None:
    """Store and publish a collection, or changes of it."""
    builder = builder_for(stores, vectors, collection)
    try:
        builder.write(points_of(vectors, version))
        builder.publish(silent)
    finally:
        builder.close()


def both(root: Path) -> list[str]:
    """Return the URLs of the two usual stores in an index folder."""
    return [f"edge:{root}", f"faiss:{root}/faiss"]


def store_options(urls: list[str]) -> list[str]:
    """Return the words that name stores on a command line."""
    return [word for url in urls for word in ("--store", url)]


def catalogs(*urls: str) -> list[Catalog]:
    """Return the catalogs of stores, as a command line without settings has them."""
    return connect_all(urls, Settings())


def qdrant_writer(url: str, plan: Plan, settings: Settings, same_source: bool = False) -> QdrantWriter:
    """Return the writer of a collection on a server."""
    writer = connect(url, settings).writer(plan, Path(), same_source)
    assert isinstance(writer, QdrantWriter)
    return writer
