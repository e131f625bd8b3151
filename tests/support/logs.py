"""Small vector logs of made-up points."""

import zlib
from pathlib import Path

import numpy as np

from cbir.index.log_format import segment_path
from cbir.index.log_writer import LogWriter
from cbir.index.vector_log import VectorLog
from cbir.records import Point, digest, point_id

DIMENSION = 5


def make_point(number: int, version: str = "1") -> Point:
    rng = np.random.default_rng(zlib.crc32(f"{number} {version}".encode()))
    vector = rng.normal(size=DIMENSION).astype(np.float32)
    payload = {"key": str(number), "label": None, "sha256": version, "name": "é" * (number % 7)}
    return Point(
        point_id("set", str(number)), vector / np.linalg.norm(vector), payload, version, b"t" * number, digest(payload)
    )


def write_log(folder: Path, frames: list[list[Point]], segment: int = 1) -> Path:
    path = segment_path(folder, segment)
    writer = LogWriter(path, DIMENSION)
    for frame in frames:
        writer.append(frame)
    writer.close()
    return path


def has_points(log: VectorLog, points: list[Point]) -> bool:
    by_id = {point.id: point for point in points}
    assert len(log) == len(by_id)
    for position in range(len(log)):
        point = by_id[log.id(position)]
        assert log.position(point.id) == position
        assert log.payload(position) == point.payload
        assert log.thumbnail(position) == point.thumbnail
        assert np.array_equal(log.vector(position), point.vector)
    return True
