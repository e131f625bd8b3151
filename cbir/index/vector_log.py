"""The vector log: all points of a generation, append-only and with checksums. Every engine is built from it.

A log is a folder of numbered segments. A segment is a sequence of frames: a 16-byte header (magic, CRC-32 and length of
the body) and an Arrow record batch. A frame counts only if it is complete, so a crash leaves a prefix of what was
appended. Segments of a published generation never change. The next generation hard-links them and appends to segments
of its own. A row without a digest is a tombstone: its point was deleted.
"""

import json
import mmap
import uuid
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cbir.filters.evaluate import PayloadTable
from cbir.index.log_format import as_matrix, fixed_bytes, frames, map_segment, null_rows, schema_of, segments
from cbir.index.stored_ids import StoredIds
from cbir.records import Payload, Point, Vector, id_bytes

_RELEASE_ROWS = 1000


class VectorLog:
    """A memory-mapped log, open for reading. The last row of each id counts; it may be a tombstone.

    A point's position, 0 to len - 1, is also its position in every FAISS index.
    """

    def __init__(self, folder: Path, dimension: int):
        schema = schema_of(dimension)
        self._maps = [map_segment(segment) for segment in segments(folder)]
        self._batches = [pa.ipc.read_record_batch(body, schema) for mapped in self._maps for body, _ in frames(mapped)]
        self._starts = np.cumsum([0] + [batch.num_rows for batch in self._batches])
        self._row_starts: list[int] = self._starts.tolist()
        self._columns = {
            name: [batch.column(name) for batch in self._batches]
            for name in ("version", "digest", "payload", "thumbnail")
        }
        ids = np.frombuffer(b"".join(fixed_bytes(batch.column(0), 16) for batch in self._batches), "V16")
        _, from_end = np.unique(ids[::-1], return_index=True)
        last = np.sort(len(ids) - 1 - from_end)
        tombstones = [np.empty(0, bool), *(null_rows(batch.column(2)) for batch in self._batches)]
        self._rows = last[~np.concatenate(tombstones)[last]]
        self._bounds = np.searchsorted(self._rows, self._starts)
        self.dead = len(ids) - len(self._rows)
        """The number of rows that do not count."""
        self.dimension = dimension
        self.ids = ids[self._rows]
        self.order: npt.NDArray[np.int64] = np.argsort(self.ids)
        """The positions, sorted by id."""
        self.release()

    def __len__(self) -> int:
        return len(self._rows)

    def rank(self, point_id: str) -> int:
        """Return the number of points with a smaller id."""
        wanted = np.frombuffer(uuid.UUID(point_id).bytes, "V16")
        return int(np.searchsorted(self.ids, wanted, sorter=self.order)[0])

    def position(self, point_id: str) -> int | None:
        """Return the position of the point with this id, or None."""
        try:
            rank = self.rank(point_id)
        except ValueError:
            return None
        if rank == len(self) or self.ids[self.order[rank]].tobytes() != id_bytes(point_id):
            return None
        return int(self.order[rank])

    def id(self, position: int) -> str:
        """Return the id of the point at `position`."""
        text = self.ids[position].tobytes().hex()  # three times as fast as a UUID object
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
        """Return a copy of the (n, D) vectors at the positions start to stop - 1."""
        start, stop, _ = slice(start, stop).indices(len(self))
        out = np.empty((max(0, stop - start), self.dimension), np.float32)
        for batch, rows, position in self._by_batch(start, stop):
            out[position - start :][: len(rows)] = as_matrix(batch.column(5), self.dimension)[rows]
        if len(out) >= _RELEASE_ROWS:
            self.release()
        return out

    def point(self, position: int) -> Point:
        """Return the point at `position`."""
        version, digest = (self._value(position, column) for column in ("version", "digest"))
        payload, thumbnail = self.payload(position), self.thumbnail(position)
        return Point(self.id(position), self.vector(position), payload, version, thumbnail, digest)

    def find(self, ids: Sequence[str]) -> dict[str, Point]:
        """Return those of the points that are in the log, by id."""
        positions = ((point_id, self.position(point_id)) for point_id in ids)
        return {point_id: self.point(position) for point_id, position in positions if position is not None}

    def points(self) -> Iterator[Point]:
        """Yield every point, in order of position."""
        for batch, rows, start in self._by_batch(0, len(self)):
            versions, digests, payloads, thumbnails = (batch.column(column).to_pylist() for column in range(1, 5))
            vectors = as_matrix(batch.column(5), self.dimension)
            for position, row in enumerate(rows.tolist(), start):
                payload, vector = json.loads(payloads[row]), vectors[row].copy()
                yield Point(self.id(position), vector, payload, versions[row], thumbnails[row], digests[row])
            self.release()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows that count as record batches of the log's schema, in order of position."""
        for batch, rows, _ in self._by_batch(0, len(self)):
            yield batch if len(rows) == batch.num_rows else batch.take(pa.array(rows))

    def release(self) -> None:
        """Return the pages read so far to the system, so that reading a large log needs little memory."""
        for mapped in self._maps:
            if mapped is not None:
                mapped.madvise(mmap.MADV_DONTNEED)

    def stored_ids(self) -> StoredIds:
        """Return the ids, with the versions and digests of their points."""
        return StoredIds.of(self._stamps())

    def _stamps(self) -> Iterator[tuple[bytes, str, str]]:
        for batch, rows, start in self._by_batch(0, len(self)):
            versions, digests = batch.column(1).to_pylist(), batch.column(2).to_pylist()
            for position, row in enumerate(rows.tolist(), start):
                yield self.ids[position].tobytes(), versions[row], digests[row]

    @cached_property
    def table(self) -> PayloadTable:
        """The payloads of all points by column. It takes seconds to read for a million points."""
        table = PayloadTable(map(self.payload, range(len(self))))
        self.release()
        return table

    def described(self) -> Iterator[tuple[str, Payload]]:
        """Yield (id, payload) of every point."""
        return ((self.id(position), self.payload(position)) for position in range(len(self)))

    def _by_batch(self, start: int, stop: int) -> Iterator[tuple[pa.RecordBatch, npt.NDArray[np.int64], int]]:
        """Yield (batch, its rows that count, position of the first of them) for the positions start to stop - 1."""
        first, last = np.searchsorted(self._bounds, [start, stop], side="right") - 1
        for i in range(max(0, int(first)), min(int(last) + 1, len(self._batches))):
            low, high = max(start, int(self._bounds[i])), min(stop, int(self._bounds[i + 1]))
            if low < high:
                yield self._batches[i], self._rows[low:high] - self._starts[i], low

    def _value(self, position: int, column: str) -> Any:
        row = int(self._rows[position])
        i = bisect_right(self._row_starts, row) - 1
        return self._columns[column][i][row - self._row_starts[i]].as_py()
