"""Writing the vector log: appending points, and rewriting what many small writes and deletions have left."""

import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

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
from cbir.index.vector_log import VectorLog
from cbir.records import Point, id_bytes, to_json

_FRAME_ROWS = 250
_SMALL_FRAMES = 100
_BESIDE = ".tmp"


class LogWriter:
    """Appends points to the last segment of a log; what a crash left half-written is cut off first."""

    def __init__(self, segment: Path, dimension: int):
        segment.parent.mkdir(parents=True, exist_ok=True)
        self.segment = segment
        self._schema = schema_of(dimension)
        self._file = segment.open("ab", buffering=0)
        whole = sum(size for _, size in frames(map_segment(segment)))
        self._file.truncate(whole)
        self._file.seek(whole)

    def append(self, points: Sequence[Point]) -> None:
        """Append one frame; it survives the death of the process, and after `flush` that of the machine."""
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
        """Append tombstones: these points are gone, unless they are appended again."""
        dimension = self._schema.field("vector").type.list_size
        for start in range(0, len(ids), _FRAME_ROWS):
            part = [id_bytes(one) for one in ids[start : start + _FRAME_ROWS]]
            columns = [
                id_column(part),
                *(
                    pa.nulls(len(part), self._schema.field(name).type)
                    for name in ("version", "digest", "payload", "thumbnail")
                ),
                vector_column(np.zeros(len(part) * dimension, np.float32), dimension),
            ]
            self._write(pa.RecordBatch.from_arrays(columns, schema=self._schema))

    @property
    def size(self) -> int:
        """Bytes in the segment."""
        return self._file.tell()

    def _write(self, batch: pa.RecordBatch) -> None:
        body = batch.serialize()
        header = HEADER.pack(MAGIC, zlib.crc32(body), body.size)
        start = self._file.tell()
        try:
            for part in (memoryview(header), memoryview(body)):
                while part:
                    part = part[self._file.write(part) :]
        except OSError:  # the disk is full: without this, what is appended when there is room again would be unreadable
            self._file.truncate(start)
            raise

    def flush(self) -> None:
        """Return when all that was appended is on the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        self._file.close()


def regroup(segment: Path, dimension: int) -> None:
    """Write a segment of many small frames anew in large ones; reading a log takes some kilobytes a frame.

    The same rows in the same order, put in the segment's place whole or not at all.
    """
    mapped, schema = map_segment(segment), schema_of(dimension)

    def batches() -> Iterator[pa.RecordBatch]:
        return (pa.ipc.read_record_batch(body, schema) for body, _ in frames(mapped))

    sizes = [batch.num_rows for batch in batches()]
    if sum(sizes) < len(sizes) * _SMALL_FRAMES and len(sizes) > 1:
        _rewrite(segment, dimension, _regrouped(batches()))


def compact(folder: Path, dimension: int) -> None:
    """Write what counts of a log into one new segment, and remove the others.

    In order, and the originals before the tombstones, so that a crash in between leaves a log of the same points.
    """
    before = segments(folder)
    log = VectorLog(folder, dimension)
    number = int(before[-1].stem) + 1
    _rewrite(segment_path(folder, number), dimension, _regrouped(log.batches()))
    for segment in before:
        segment.unlink()


def _rewrite(segment: Path, dimension: int, batches: Iterable[pa.RecordBatch]) -> None:
    beside = segment.with_suffix(_BESIDE)
    try:
        beside.unlink(missing_ok=True)
        writer = LogWriter(beside, dimension)
        for batch in batches:
            writer._write(batch)
        writer.close()
        beside.replace(segment)
    finally:
        beside.unlink(missing_ok=True)


def _regrouped(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
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
