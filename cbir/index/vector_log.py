"""The vector log: every point of a generation, append-only and checksummed, from which any index is built.

A log is a folder of numbered segments. A segment is a run of frames; a frame is a 16-byte header (magic, CRC-32
and length of the body) and one Arrow record batch. A frame is there whole or not at all, so whatever a crash
leaves is a prefix of what was appended. Segments of a published generation never change and are hard-linked into
the next one, which appends to segments of its own. A row without a digest is a tombstone: its point is gone.
"""

import json
import mmap
import os
import struct
import uuid
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cbir.filters.evaluate import PayloadTable
from cbir.index.stored_ids import Known
from cbir.records import Payload, Point, Vector, id_bytes, to_json

_HEADER = struct.Struct("<4sIQ")
_MAGIC = b"CBV1"
_SUFFIX = ".log"
_RELEASE_ROWS = 1000
_RELEASE_BYTES = 4 * 2**20
_FRAME_ROWS = 250
_SMALL_FRAMES = 100
_BESIDE = ".tmp"


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
        self.segment = segment
        self._schema = _schema(dimension)
        self._file = segment.open("ab", buffering=0)
        whole = sum(size for _, size in _frames(_map(segment)))
        self._file.truncate(whole)
        self._file.seek(whole)

    def append(self, points: Sequence[Point]) -> None:
        """Append one frame; it survives the death of the process, and after `flush` that of the machine."""
        if not points:
            return
        vectors = np.concatenate([point.vector for point in points], dtype=np.float32)
        columns = [
            _ids([id_bytes(point.id) for point in points]),
            _column([point.version.encode() for point in points], pa.string()),
            _column([point.digest.encode() for point in points], pa.string()),
            _column([to_json(point.payload).encode() for point in points], pa.string()),
            _column([point.thumbnail for point in points], pa.binary()),
            _lists(vectors, len(vectors) // len(points)),
        ]
        self._write(pa.RecordBatch.from_arrays(columns, schema=self._schema))

    def delete(self, ids: Sequence[str]) -> None:
        """Append tombstones: these points are gone, unless they are appended again."""
        dimension = self._schema.field("vector").type.list_size
        for start in range(0, len(ids), _FRAME_ROWS):
            part = [id_bytes(one) for one in ids[start : start + _FRAME_ROWS]]
            columns = [
                _ids(part),
                *(
                    pa.nulls(len(part), self._schema.field(name).type)
                    for name in ("version", "digest", "payload", "thumbnail")
                ),
                _lists(np.zeros(len(part) * dimension, np.float32), dimension),
            ]
            self._write(pa.RecordBatch.from_arrays(columns, schema=self._schema))

    @property
    def size(self) -> int:
        """Bytes in the segment."""
        return self._file.tell()

    def _write(self, batch: pa.RecordBatch) -> None:
        body = batch.serialize()
        header = _HEADER.pack(_MAGIC, zlib.crc32(body), body.size)
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


class VectorLog:
    """A log open for reading, memory-mapped; of the rows with one id the last one counts, a tombstone too.

    Points are addressed by position 0 .. len - 1, which is also their position in every FAISS index.
    """

    def __init__(self, folder: Path, dimension: int):
        schema = _schema(dimension)
        self._maps = [_map(segment) for segment in segments(folder)]
        self._batches = [pa.ipc.read_record_batch(body, schema) for one in self._maps for body, _ in _frames(one)]
        self._starts = np.cumsum([0] + [batch.num_rows for batch in self._batches])
        self._row_starts: list[int] = self._starts.tolist()
        self._columns = {
            name: [batch.column(name) for batch in self._batches]
            for name in ("version", "digest", "payload", "thumbnail")
        }
        ids = np.frombuffer(b"".join(_fixed(batch.column(0), 16) for batch in self._batches), "V16")
        _, from_end = np.unique(ids[::-1], return_index=True)
        last = np.sort(len(ids) - 1 - from_end)
        gone = [np.empty(0, bool), *(_absent(batch.column(2)) for batch in self._batches)]
        self._rows = last[~np.concatenate(gone)[last]]
        self._bounds = np.searchsorted(self._rows, self._starts)
        self.dead = len(ids) - len(self._rows)
        self.dimension = dimension
        self.ids = ids[self._rows]
        self._order = np.argsort(self.ids)
        self.release()

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def order(self) -> npt.NDArray[np.int64]:
        """The positions in the order of their ids."""
        return self._order

    def place(self, point_id: str) -> int:
        """Return how many points have a smaller id."""
        wanted = np.frombuffer(uuid.UUID(point_id).bytes, "V16")
        return int(np.searchsorted(self.ids, wanted, sorter=self._order)[0])

    def position(self, point_id: str) -> int | None:
        """Return the position of the point with this id, or None."""
        try:
            at = self.place(point_id)
        except ValueError:
            return None
        if at == len(self) or self.ids[self._order[at]].tobytes() != id_bytes(point_id):
            return None
        return int(self._order[at])

    def id(self, position: int) -> str:
        """Return the id of the point at `position`."""
        text = self.ids[position].tobytes().hex()  # a UUID object would take three times as long
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

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
        start, stop, _ = slice(start, stop).indices(len(self))
        out = np.empty((max(0, stop - start), self.dimension), np.float32)
        for batch, rows, at in self._by_batch(start, stop):
            out[at - start : at - start + len(rows)] = _matrix(batch.column(5), self.dimension)[rows]
        if len(out) >= _RELEASE_ROWS:
            self.release()
        return out

    def point(self, position: int) -> Point:
        """Return the point at `position`."""
        version, digest = (self._value(position, column) for column in ("version", "digest"))
        payload, thumbnail = self.payload(position), self.thumbnail(position)
        return Point(self.id(position), self.vector(position), payload, version, thumbnail, digest)

    def points(self) -> Iterator[Point]:
        """Yield every point, in order of position."""
        for batch, rows, at in self._by_batch(0, len(self)):
            versions, digests, payloads, thumbnails = (batch.column(column).to_pylist() for column in range(1, 5))
            vectors = _matrix(batch.column(5), self.dimension)
            for position, row in enumerate(rows.tolist(), at):
                payload = json.loads(payloads[row])
                yield Point(
                    self.id(position), vectors[row].copy(), payload, versions[row], thumbnails[row], digests[row]
                )
            self.release()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows that count as record batches of the log's schema, in order of position."""
        for batch, rows, _ in self._by_batch(0, len(self)):
            yield batch if len(rows) == batch.num_rows else batch.take(pa.array(rows))

    def release(self) -> None:
        """Give the pages read so far back to the system; a pass over a large log then needs little memory."""
        for one in self._maps:
            if one is not None:
                one.madvise(mmap.MADV_DONTNEED)

    def known(self) -> Known:
        """Return what a second run need not embed again."""
        return Known.of(self._stamps())

    def _stamps(self) -> Iterator[tuple[bytes, str, str]]:
        for batch, rows, at in self._by_batch(0, len(self)):
            versions, digests = batch.column(1).to_pylist(), batch.column(2).to_pylist()
            for position, row in enumerate(rows.tolist(), at):
                yield self.ids[position].tobytes(), versions[row], digests[row]

    @cached_property
    def table(self) -> PayloadTable:
        """The payloads of all points by column; read at the first use, which takes some seconds for a million."""
        table = PayloadTable(self.payload(at) for at in range(len(self)))
        self.release()
        return table

    def described(self) -> Iterator[tuple[str, Payload]]:
        """Yield (id, payload) of every point."""
        for at in range(len(self)):
            yield self.id(at), self.payload(at)

    def _by_batch(self, start: int, stop: int) -> Iterator[tuple[pa.RecordBatch, npt.NDArray[np.int64], int]]:
        """Yield (batch, its rows that count, position of the first of them) for the positions start .. stop - 1."""
        first, last = np.searchsorted(self._bounds, [start, stop], side="right") - 1
        for home in range(max(0, int(first)), min(int(last) + 1, len(self._batches))):
            low, high = max(start, int(self._bounds[home])), min(stop, int(self._bounds[home + 1]))
            if low < high:
                yield self._batches[home], self._rows[low:high] - self._starts[home], low

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


def regroup(segment: Path, dimension: int) -> None:
    """Write a segment of many small frames anew in large ones; reading a log takes some kilobytes a frame.

    The same rows in the same order, put in the segment's place whole or not at all.
    """
    mapped, schema = _map(segment), _schema(dimension)

    def batches() -> Iterator[pa.RecordBatch]:
        return (pa.ipc.read_record_batch(body, schema) for body, _ in _frames(mapped))

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
    """Yield (body, bytes with header) of each whole frame, up to the end or the first that is not whole.

    Pages read so far are given back to the system as it goes, some frames later, since they may still be in use.
    """
    if mapped is None:
        return
    everything = pa.py_buffer(mapped)
    at = held = passed = 0
    while at + _HEADER.size <= everything.size:
        magic, checksum, length = _HEADER.unpack(everything[at : at + _HEADER.size])
        if magic != _MAGIC or length > everything.size - at - _HEADER.size:
            return
        body = everything.slice(at + _HEADER.size, length)
        if zlib.crc32(body) != checksum:
            return
        yield body, _HEADER.size + length
        at += _HEADER.size + length
        if at - passed >= _RELEASE_BYTES:
            mapped.madvise(mmap.MADV_DONTNEED, held, passed - held)
            held, passed = passed, at - at % mmap.PAGESIZE


# `pa.array` and `to_numpy` would import pandas, for half a second in every process that opens a log.


def _column(values: Sequence[bytes], kind: pa.DataType) -> pa.Array:
    ends = np.array([*accumulate(map(len, values), initial=0)], np.int32)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(values))])


def _ids(values: Sequence[bytes]) -> pa.Array:
    return pa.Array.from_buffers(pa.binary(16), len(values), [None, pa.py_buffer(b"".join(values))])


def _lists(values: Vector, size: int) -> pa.Array:
    inner = pa.Array.from_buffers(pa.float32(), len(values), [None, pa.py_buffer(values)])
    return pa.FixedSizeListArray.from_arrays(inner, size)


def _absent(column: pa.Array) -> npt.NDArray[np.bool_]:
    bits = column.buffers()[0]
    if bits is None:
        return np.zeros(len(column), bool)
    present = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little").astype(bool)
    return ~present[column.offset : column.offset + len(column)]


def _fixed(column: pa.Array, width: int) -> bytes:
    data: bytes = column.buffers()[1].to_pybytes()
    return data[column.offset * width : (column.offset + len(column)) * width]


def _matrix(column: pa.Array, dimension: int) -> Vector:
    at = 4 * dimension * column.offset
    return np.frombuffer(column.buffers()[-1], np.float32, len(column) * dimension, at).reshape(-1, dimension)
