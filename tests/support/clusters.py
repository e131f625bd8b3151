"""A collection that is large enough for a graph, with clusters and many exact copies, for tests of every store."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from cbir.progress import silent
from cbir.records import Point, Vector, digest
from tests.support.building import builder_for, points_of

COUNT, DIMENSION = 5_200, 512
"""Edge builds a graph from 10 MB of vectors on."""

CLUSTERS, COPIED, COPIES = 60, 25, 40
INDEXES = {
    "edge": "edge:{root}",
    "faiss": "faiss:{root}/faiss",
    "faiss-ivf": "faiss:{root}/lists?index=IVF32,Flat&nprobe=8",
}
KINDS = (*INDEXES, "server")


COPIED_AT = np.random.default_rng(3).permutation(COUNT)[: COPIED * COPIES]
"""The positions of the copies."""


_PLACES = COPIED_AT.reshape(COPIED, COPIES)
CLUSTER = np.random.default_rng(5).integers(0, CLUSTERS, COUNT)
CLUSTER[_PLACES] = CLUSTER[_PLACES[:, :1]]
"""The cluster of each point."""


def _vectors() -> Vector:
    """Return unit vectors (COUNT, DIMENSION) in clusters; 25 of them have 39 exact copies each."""
    chance = np.random.default_rng(17)
    vectors = chance.normal(size=(CLUSTERS, DIMENSION))[CLUSTER] + chance.normal(size=(COUNT, DIMENSION))
    vectors[_PLACES] = vectors[_PLACES[:, :1]]
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


VECTORS = _vectors()


def _points() -> list[Point]:
    points = []
    for i, point in enumerate(points_of(VECTORS)):
        payload = {**point.payload, "group": f"group {i % 211}", "number": i % 97, "cluster": int(CLUSTER[i])}
        points.append(replace(point, payload=payload, digest=digest(payload)))
    return points


POINTS = _points()
BY_ID = {point.id: point for point in POINTS}
IDS = np.array([point.id for point in POINTS])


def fill_folder(root: Path) -> dict[str, str]:
    """Store the points in an index of each kind, and return the URLs."""
    urls = {kind: url.format(root=root) for kind, url in INDEXES.items()}
    builder = builder_for(list(urls.values()), VECTORS)
    builder.write(POINTS)
    builder.publish(silent)
    builder.close()
    return urls
