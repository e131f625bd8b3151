"""The vector log: every point of a generation, append-only and checksummed, from which any index is built.

A log is a folder of numbered segments. A segment is a run of frames; a frame is a 16-byte header (magic, CRC-32
and length of the body) and one Arrow record batch. A frame is there whole or not at all, so whatever a crash
leaves is a prefix of what was appended. Segments of a published generation never change and are hard-linked into
the next one, which appends to a segment of its own.
"""

import json
import mmap
import os
import struct
import uuid
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cbir.records import Payload, Point, Vector, to_json

_HEADER = struct.Struct("<4sIQ")
_MAGIC = b"CBV1"
_SUFFIX = ".log"
_RELEASE_ROWS = 1000


def _schema(dimension: int) -> pa.Schema:
    return pa.schema(
        {
            "id": pa.binary(16),
            "version": pa.string(),
            "digest": pa.string(),
            "payload": pa.string(),
            "thumbnail": pa.binary(),
            "vector": pa.list_(pa.float32(), dimension),
        }
    )


class LogWriter:
    """Appends points to the last segment of a log; what a crash left half-written is cut off first."""

    def __init__(self, segment: Path, dimension: int):
        segment.parent.mkdir(parents=True, exist_ok=True)
        self._schema = _schema(dimension)
        self._file = segment.open("ab")
        whole = sum(size for _, size in _frames(_map(segment)))
        self._file.truncate(whole)

    def append(self, points: Sequence[Point]) -> None:
        """Append one frame; it survives the death of the process, and after `flush` that of the machine."""
        if not points:
            return
        vectors = np.stack([point.vector for point in points]).astype(np.float32, copy=False)
        columns = [
            pa.array([uuid.UUID(point.id).bytes for point in points], pa.binary(16)),
            pa.array([point.version for point in points]),
            pa.array([point.digest for point in points]),
            pa.array([to_json(point.payload) for point in points]),
            pa.array([point.thumbnail for point in points], pa.binary()),
            pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]),
        ]
        body = pa.RecordBatch.from_arrays(columns, schema=self._schema).serialize()
        self._file.write(_HEADER.pack(_MAGIC, zlib.crc32(body), body.size))
        self._file.write(body)
        self._file.flush()

    def flush(self) -> None:
        """Return when all that was appended is on the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        self._file.close()


class VectorLog:
    """A log open for reading, memory-mapped; of two rows with one id the later one counts.

    Points are addressed by position 0 .. len - 1, which is also their position in every FAISS index.
    """

    def __init__(self, folder: Path, dimension: int):
        schema = _schema(dimension)
        self._maps = [_map(segment) for segment in segments(folder)]
        self._batches = [pa.ipc.read_record_batch(body, schema) for one in self._maps for body, _ in _frames(one)]
        self._starts = np.cumsum([0] + [batch.num_rows for batch in self._batches])
        self._row_starts: list[int] = self._starts.tolist()
        self._columns = {name: [batch.column(name) for batch in self._batches] for name in ("payload", "thumbnail")}
        ids = np.frombuffer(b"".join(_fixed(batch.column(0), 16) for batch in self._batches), "V16")
        _, from_end = np.unique(ids[::-1], return_index=True)
        self._rows = np.sort(len(ids) - 1 - from_end)
        self.dimension = dimension
        self.ids = ids[self._rows]
        self._order = np.argsort(self.ids)
        self.release()

    def __len__(self) -> int:
        return len(self._rows)

    def position(self, point_id: str) -> int | None:
        """Return the position of the point with this id, or None."""
        try:
            wanted = np.frombuffer(uuid.UUID(point_id).bytes, "V16")
        except ValueError:
            return None
        at = int(np.searchsorted(self.ids, wanted, sorter=self._order)[0])
        if at == len(self) or self.ids[self._order[at]] != wanted[0]:
            return None
        return int(self._order[at])

    def id(self, position: int) -> str:
        """Return the id of the point at `position`."""
        return str(uuid.UUID(bytes=self.ids[position].tobytes()))

    def payload(self, position: int) -> Payload:
        """Return the payload of the point at `position`."""
        return json.loads(self._value(position, "payload"))  # type: ignore[no-any-return]

    def thumbnail(self, position: int) -> bytes:
        """Return the thumbnail of the point at `position`."""
        return self._value(position, "thumbnail")  # type: ignore[no-any-return]

    def vector(self, position: int) -> Vector:
        """Return the (D,) vector of the point at `position`."""
        vector: Vector = self.vectors(position, position + 1)[0]
        return vector

    def vectors(self, start: int = 0, stop: int | None = None) -> Vector:
        """Return a copy of the (n, D) vectors of the points at positions start .. stop - 1."""
        rows = self._rows[start:stop]
        out = np.empty((len(rows), self.dimension), np.float32)
        homes = np.searchsorted(self._starts, rows, side="right") - 1
        for home in np.unique(homes):
            batch, mine = self._batches[home], homes == home
            out[mine] = _matrix(batch.column(5), self.dimension)[rows[mine] - self._starts[home]]
        if len(rows) >= _RELEASE_ROWS:
            self.release()
        return out

    def release(self) -> None:
        """Give the pages read so far back to the system; a pass over a large log then needs little memory."""
        for one in self._maps:
            if one is not None:
                one.madvise(mmap.MADV_DONTNEED)

    def known(self) -> dict[str, tuple[str, str]]:
        """Return the (version, payload digest) of every id: what a second run need not embed again."""
        versions, digests = (
            [value for batch in self._batches for value in batch.column(name).to_pylist()]
            for name in ("version", "digest")
        )
        return {self.id(at): (versions[row], digests[row]) for at, row in enumerate(self._rows)}

    def chunks(self, size: int = 1000) -> Iterator[tuple[int, list[str], list[Payload], Vector]]:
        """Yield (start, ids, payloads, vectors) in order of position, `size` points at a time."""
        for start in range(0, len(self), size):
            span = range(start, min(start + size, len(self)))
            yield (
                start,
                [self.id(at) for at in span],
                [self.payload(at) for at in span],
                self.vectors(start, start + size),
            )

    def _value(self, position: int, column: str) -> Any:
        row = int(self._rows[position])
        home = bisect_right(self._row_starts, row) - 1
        return self._columns[column][home][row - self._row_starts[home]].as_py()


def segments(folder: Path) -> list[Path]:
    """Return the segments of a log in order."""
    return sorted(folder.glob(f"*{_SUFFIX}"))


def segment_path(folder: Path, number: int) -> Path:
    """Return the path of a log's segment."""
    return folder / f"{number:06d}{_SUFFIX}"


def _map(segment: Path) -> mmap.mmap | None:
    """Return the segment's bytes, memory-mapped, or None if it is empty."""
    with segment.open("rb") as file:
        empty = os.fstat(file.fileno()).st_size == 0
        return None if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _frames(mapped: mmap.mmap | None) -> Iterator[tuple[pa.Buffer, int]]:
    """Yield (body, bytes with header) of each whole frame, up to the end or the first that is not whole."""
    if mapped is None:
        return
    everything = pa.py_buffer(mapped)
    at = 0
    while at + _HEADER.size <= everything.size:
        magic, checksum, length = _HEADER.unpack(everything[at : at + _HEADER.size])
        if magic != _MAGIC or length > everything.size - at - _HEADER.size:
            return
        body = everything.slice(at + _HEADER.size, length)
        if zlib.crc32(body) != checksum:
            return
        yield body, _HEADER.size + length
        at += _HEADER.size + length


def _fixed(column: pa.Array, width: int) -> bytes:
    data: bytes = column.buffers()[1].to_pybytes()
    return data[column.offset * width : (column.offset + len(column)) * width]


def _matrix(column: pa.Array, dimension: int) -> Vector:
    return column.flatten().to_numpy(zero_copy_only=True).reshape(-1, dimension)  # type: ignore[no-any-return]
