"""The vector log: all points of a generation, append-only and with checksums. Every engine is built from it.

A log is a folder of numbered segments. A segment is a sequence of frames: a 16-byte header (magic, CRC-32 and length of
the body) and an Arrow record batch. A frame counts only if it is complete, so a crash leaves a prefix of what was
appended. Segments of a published generation never change. The next generation hard-links them and appends to segments
of its own. A row without a digest is a tombstone: its point was deleted.
"""

import math
import mmap
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from cbir.filters.evaluate import PayloadTable
from cbir.index.log_format import (
    as_matrix,
    fixed_bytes,
    frames,
    map_segment,
    null_rows,
    schema_of,
    segments,
    text_views,
)
from cbir.records import Payload, Point, Vector, id_bytes

_RELEASE_ROWS = 1000


@dataclass(frozen=True)
class Segment:
    """A segment of a log, memory-mapped (None if it is empty), and its frames, which may end before its last byte."""

    mapped: mmap.mmap | None
    batches: tuple[pa.RecordBatch, ...]
    is_complete: bool


def open_segment(path: Path, dimension: int) -> Segment:
    """Open a segment of vectors with this dimension for reading."""
    schema, mapped = schema_of(dimension), map_segment(path)
    batches, read = [], 0
    for body, size in frames(mapped):
        batches.append(pa.ipc.read_record_batch(body, schema))
        read += size
    return Segment(mapped, tuple(batches), mapped is None or read == len(mapped))


def _last_of_each(ids: np.ndarray) -> npt.NDArray[np.int64]:
    """Return the numbers of the rows whose id does not come again, in order."""
    first = _first_halves(ids)
    ordered = np.sort(first)
    if _all_differ(ordered):
        return np.arange(len(ids))
    repeated = np.flatnonzero(np.isin(first, ordered[1:][ordered[1:] == ordered[:-1]]))
    _, from_end = np.unique(ids[repeated][::-1], return_index=True)
    counts = np.ones(len(ids), bool)
    counts[repeated] = False
    counts[repeated[len(repeated) - 1 - from_end]] = True
    return np.flatnonzero(counts)


def _first_halves(ids: np.ndarray) -> npt.NDArray[np.uint64]:
    """Return the first 8 bytes of each id as a number: they sort faster than whole ids, and hardly any two agree."""
    return ids.view(">u8")[::2].astype(np.uint64)


def _all_differ(ordered: npt.NDArray[np.uint64]) -> bool:
    return not (ordered[1:] == ordered[:-1]).any()


class VectorLog:
    """A memory-mapped log, open for reading. The last row of each id counts; it may be a tombstone.

    A point's position, 0 to len - 1, is also its position in every FAISS index.
    """

    def __init__(self, source: Path | Sequence[Segment], dimension: int):
        """Read all segments of a folder, or the given ones."""
        if isinstance(source, Path):
            source = [open_segment(path, dimension) for path in segments(source)]
        self.segments = tuple(source)
        self._batches = [batch for segment in self.segments for batch in segment.batches]
        self._starts = np.cumsum([0] + [batch.num_rows for batch in self._batches])
        self._row_starts: list[int] = self._starts.tolist()
        self._matrices: dict[int, Vector] = {}
        self._texts: dict[tuple[int, int], tuple[memoryview, memoryview]] = {}
        ids = np.frombuffer(b"".join(fixed_bytes(batch.column(0), 16) for batch in self._batches), "V16")
        last = _last_of_each(ids)
        tombstones = [np.empty(0, bool), *(null_rows(batch.column(2)) for batch in self._batches)]
        dead = np.concatenate(tombstones)[last]
        self.rows = last[~dead]
        """The numbers of the rows that count. A log with more segments has the same row under the same number."""
        self.deleted = ids[last[dead]]
        """The ids of the points that the log deletes and does not add again."""
        self._bounds = np.searchsorted(self.rows, self._starts)
        self.dead = len(ids) - len(self.rows)
        """The number of rows that do not count."""
        self.dimension = dimension
        self.ids = ids[self.rows]
        self._row_numbers, self._id_bytes = memoryview(self.rows), memoryview(self.ids.view(np.uint8))
        self.release()

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def order(self) -> npt.NDArray[np.int64]:
        """The positions, sorted by id."""
        first = _first_halves(self.ids)
        order = np.argsort(first)
        return order if _all_differ(first[order]) else np.argsort(self.ids)

    def positions(self, ids: np.ndarray) -> npt.NDArray[np.int64]:
        """Return the positions of the points with these ids (n, of 16 bytes), -1 for an id that is not in the log."""
        if not len(self):
            return np.full(len(ids), -1)
        ranks = np.searchsorted(self.ids, ids, sorter=self.order)
        found = self.order[np.minimum(ranks, len(self) - 1)]
        return np.where(self.ids[found] == ids, found, -1)

    def position(self, point_id: str) -> int | None:
        """Return the position of the point with this id, or None."""
        if not len(self):
            return None
        try:
            (found,) = self.positions(np.frombuffer(id_bytes(point_id), "V16")).tolist()
        except ValueError:
            return None
        return None if found < 0 else found

    def id(self, position: int) -> str:
        """Return the id of the point at `position`."""
        text = self._id_bytes[16 * position : 16 * position + 16].hex()  # six times as fast as a UUID object
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def payload(self, position: int) -> Payload:
        """Return the payload of the point at `position`."""
        return orjson.loads(self._value(position, 3))  # type: ignore[no-any-return]

    def thumbnail(self, position: int) -> bytes:
        """Return the thumbnail of the point at `position`."""
        return bytes(self._value(position, 4))

    def vector(self, position: int) -> Vector:
        """Return the (D,) vector of the point at `position`."""
        vector: Vector = self.vectors(position, position + 1)[0]
        return vector

    def vectors(self, start: int = 0, stop: int | None = None) -> Vector:
        """Return a copy of the (n, D) vectors at the positions start to stop - 1."""
        start, stop, _ = slice(start, stop).indices(len(self))
        out = np.empty((max(0, stop - start), self.dimension), np.float32)
        for batch, rows, position in self._by_batch(start, stop):
            out[position - start :][: len(rows)] = as_matrix(batch.column(5), self.dimension)[rows]
        if len(out) >= _RELEASE_ROWS:
            self.release()
        return out

    def scores(self, vector: Vector, positions: Sequence[int]) -> list[float]:
        """Return the inner products of a vector with those at some positions, minus infinity for the position -1.

        Equal vectors have equal products: each is computed by itself.
        """
        found = []
        for position in positions:
            if position < 0:
                found.append(-math.inf)
                continue
            row = self._row_numbers[position]
            i = bisect_right(self._row_starts, row) - 1
            matrix = self._matrices.get(i)
            if matrix is None:
                matrix = self._matrices[i] = as_matrix(self._batches[i].column(5), self.dimension)
            found.append(matrix[row - self._row_starts[i]].dot(vector))
        return found

    def stamp(self, position: int) -> tuple[str, str]:
        """Return the version and the payload digest of the point at `position`."""
        return str(self._value(position, 1), "utf-8"), str(self._value(position, 2), "utf-8")

    def point(self, position: int) -> Point:
        """Return the point at `position`."""
        version, digest = self.stamp(position)
        payload, thumbnail = self.payload(position), self.thumbnail(position)
        return Point(self.id(position), self.vector(position), payload, version, thumbnail, digest)

    def points(self) -> Iterator[Point]:
        """Yield every point, in order of position."""
        for batch, rows, start in self._by_batch(0, len(self)):
            versions, digests, payloads, thumbnails = (batch.column(column).to_pylist() for column in range(1, 5))
            vectors = as_matrix(batch.column(5), self.dimension)
            for position, row in enumerate(rows.tolist(), start):
                payload, vector = orjson.loads(payloads[row]), vectors[row].copy()
                yield Point(self.id(position), vector, payload, versions[row], thumbnails[row], digests[row])
            self.release()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows that count as record batches of the log's schema, in order of position."""
        for batch, rows, _ in self._by_batch(0, len(self)):
            yield batch if len(rows) == batch.num_rows else batch.take(pa.array(rows))

    def release(self) -> None:
        """Return the pages read so far to the system, so that reading a large log needs little memory."""
        for segment in self.segments:
            if segment.mapped is not None:
                segment.mapped.madvise(mmap.MADV_DONTNEED)

    @cached_property
    def table(self) -> PayloadTable:
        """The payloads of all points by column. It takes seconds to read for a million points."""
        table = PayloadTable(self._payloads())
        self.release()
        return table

    def _payloads(self) -> Iterator[Payload]:
        for batch, rows, _ in self._by_batch(0, len(self)):
            texts = batch.column(3).to_pylist()
            yield from (orjson.loads(texts[row]) for row in rows.tolist())

    def _by_batch(self, start: int, stop: int) -> Iterator[tuple[pa.RecordBatch, npt.NDArray[np.int64], int]]:
        """Yield (batch, its rows that count, position of the first of them) for the positions start to stop - 1."""
        first, last = np.searchsorted(self._bounds, [start, stop], side="right") - 1
        for i in range(max(0, int(first)), min(int(last) + 1, len(self._batches))):
            low, high = max(start, int(self._bounds[i])), min(stop, int(self._bounds[i + 1]))
            if low < high:
                yield self._batches[i], self.rows[low:high] - self._starts[i], low

    def _value(self, position: int, column: int) -> memoryview:
        """Return the bytes of a text in less time than an Arrow value would take."""
        row = self._row_numbers[position]
        i = bisect_right(self._row_starts, row) - 1
        texts = self._texts.get((i, column))
        if texts is None:
            texts = self._texts[i, column] = text_views(self._batches[i].column(column))
        ends, data = texts
        row -= self._row_starts[i]
        return data[ends[row] : ends[row + 1]]
