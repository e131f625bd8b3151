"""Writes the vector log: appends points, and rewrites segments after many small writes and deletions."""

import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa

from cbir.index.files import sync
from cbir.index.log_format import (
    HEADER,
    MAGIC,
    frames,
    id_column,
    map_segment,
    schema_of,
    segment_path,
    segments,
    text_column,
    vector_column,
)
from cbir.index.vector_log import VectorLog, open_segment
from cbir.records import Point, id_bytes, id_text, to_json

_FRAME_ROWS = 250
_SMALL_FRAMES = 100
_TEMPORARY = ".tmp"


class LogWriter:
    """Appends points to a segment of a log; an incomplete frame left by a crash is cut off first.

    `frames` is the number of frames in the segment.
    """

    def __init__(self, segment: Path, dimension: int):
        segment.parent.mkdir(parents=True, exist_ok=True)
        self.segment = segment
        self._schema = schema_of(dimension)
        self._file = segment.open("ab", buffering=0)
        try:
            sizes = [size for _, size in frames(map_segment(segment))]
            self.frames, whole = len(sizes), sum(sizes)
            self._file.truncate(whole)
            self._file.seek(whole)
            sync(segment.parent)  # a new file is lost with its folder's entry
        except BaseException:
            self._file.close()
            raise

    def append(self, points: Sequence[Point]) -> None:
        """Append a frame. It survives a crash of the process, and after `flush` one of the machine."""
        if not points:
            return
        vectors = np.concatenate([point.vector for point in points], dtype=np.float32)
        columns = [
            id_column([id_bytes(point.id) for point in points]),
            text_column([point.version.encode() for point in points], pa.string()),
            text_column([point.digest.encode() for point in points], pa.string()),
            text_column([to_json(point.payload).encode() for point in points], pa.string()),
            text_column([point.thumbnail for point in points], pa.binary()),
            vector_column(vectors, len(vectors) // len(points)),
        ]
        self._write(pa.RecordBatch.from_arrays(columns, schema=self._schema))

    def delete(self, ids: Sequence[str]) -> None:
        """Append tombstones, which delete these points."""
        dimension = self._schema.field("vector").type.list_size
        for start in range(0, len(ids), _FRAME_ROWS):
            part = [id_bytes(point_id) for point_id in ids[start : start + _FRAME_ROWS]]
            nulls = [pa.nulls(len(part), kind) for kind in self._schema.types[1:5]]
            vectors = vector_column(np.zeros(len(part) * dimension, np.float32), dimension)
            columns = [id_column(part), *nulls, vectors]
            self._write(pa.RecordBatch.from_arrays(columns, schema=self._schema))

    @property
    def size(self) -> int:
        """The segment's size in bytes."""
        return self._file.tell()

    def _write(self, batch: pa.RecordBatch) -> None:
        body = batch.serialize()
        header = HEADER.pack(MAGIC, zlib.crc32(body), body.size)
        start = self._file.tell()
        try:
            for part in (memoryview(header), memoryview(body)):
                while part:
                    part = part[self._file.write(part) :]
        except OSError:  # the disk is full; frames after half a frame would be unreadable
            self._file.truncate(start)
            raise
        self.frames += 1

    def flush(self) -> None:
        """Return once everything that was appended is on the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush and close the segment."""
        with self._file:
            self.flush()


def regroup(segment: Path, dimension: int) -> None:
    """Rewrite a segment of many small frames into large ones, atomically: each frame takes kilobytes to read."""
    schema = schema_of(dimension)
    batches = [pa.ipc.read_record_batch(body, schema) for body, _ in frames(map_segment(segment))]
    if sum(batch.num_rows for batch in batches) < len(batches) * _SMALL_FRAMES and len(batches) > 1:
        _rewrite(segment, dimension, batches)


def compact(folder: Path, dimension: int) -> None:
    """Rewrite the points of a log into one new segment, and remove the others.

    The old segments are removed in order, points before their tombstones, so that a crash leaves a log with the same
    points.
    """
    before = segments(folder)
    log = VectorLog(folder, dimension)
    number = int(before[-1].stem) + 1
    _rewrite(segment_path(folder, number), dimension, log.batches())
    for segment in before:
        segment.unlink()


def compact_tail(paths: Sequence[Path], target: Path, dimension: int) -> None:
    """Rewrite the points and tombstones of some segments into one, atomically. `target` may be one of them."""
    log = VectorLog([open_segment(path, dimension) for path in paths], dimension)
    _rewrite(target, dimension, log.batches(), [row.tobytes() for row in log.deleted])


def _rewrite(segment: Path, dimension: int, batches: Iterable[pa.RecordBatch], deleted: Sequence[bytes] = ()) -> None:
    temporary = segment.with_suffix(_TEMPORARY)
    try:
        temporary.unlink(missing_ok=True)
        with closing(LogWriter(temporary, dimension)) as writer:
            for batch in _in_large_frames(batches):
                writer._write(batch)
            writer.delete([id_text(point_id) for point_id in deleted])
        temporary.replace(segment)
    finally:
        temporary.unlink(missing_ok=True)


def _in_large_frames(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        if rows >= _FRAME_ROWS:
            yield pa.concat_batches(waiting)
            waiting, rows = [], 0
    if waiting:
        yield pa.concat_batches(waiting)
