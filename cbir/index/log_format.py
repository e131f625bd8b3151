"""The file format of the vector log: segments of frames; a frame is a checksum and an Arrow record batch."""

import mmap
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cbir.records import Vector

HEADER = struct.Struct("<4sIQ")
MAGIC = b"CBV1"
_SUFFIX = ".log"
_RELEASE_BYTES = 4 * 2**20


def schema_of(dimension: int) -> pa.Schema:
    """Return the columns of a log of vectors with this dimension."""
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


def segments(folder: Path) -> list[Path]:
    """Return the segments of a log, in order."""
    return sorted(folder.glob(f"*{_SUFFIX}"))


def segment_path(folder: Path, number: int) -> Path:
    """Return the path of a segment."""
    return folder / f"{number:06d}{_SUFFIX}"


def map_segment(segment: Path) -> mmap.mmap | None:
    """Return the segment's bytes, memory-mapped, or None if it is empty."""
    with segment.open("rb") as file:
        empty = os.fstat(file.fileno()).st_size == 0
        return None if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def frames(mapped: mmap.mmap | None, skip_damaged: bool = False) -> Iterator[tuple[pa.Buffer, int]]:
    """Yield (body, size with header) of each frame, up to the first one that is incomplete or, on request, beyond it.

    Pages are returned to the system some frames after they were read, since the caller may still use them.
    """
    if mapped is None:
        return
    everything = pa.py_buffer(mapped)
    start = held = passed = 0
    while start + HEADER.size <= everything.size:
        magic, checksum, length = HEADER.unpack(everything[start : start + HEADER.size])
        whole = magic == MAGIC and length <= everything.size - start - HEADER.size
        body = everything.slice(start + HEADER.size, length if whole else 0)
        if not whole or zlib.crc32(body) != checksum:
            start = mapped.find(MAGIC, start + 1) if skip_damaged else -1
            if start == -1:
                return
            continue
        yield body, HEADER.size + length
        start += HEADER.size + length
        if start - passed >= _RELEASE_BYTES:
            mapped.madvise(mmap.MADV_DONTNEED, held, passed - held)
            held, passed = passed, start - start % mmap.PAGESIZE


# `pa.array` and `to_numpy` would import pandas, which takes half a second in every process that opens a log.


def text_column(values: Sequence[bytes], kind: pa.DataType) -> pa.Array:
    """Return a column of encoded texts, or of bytes."""
    ends = np.array([*accumulate(map(len, values), initial=0)], np.int32)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(values))])


def id_column(values: Sequence[bytes]) -> pa.Array:
    """Return a column of ids, 16 bytes each."""
    return pa.Array.from_buffers(pa.binary(16), len(values), [None, pa.py_buffer(b"".join(values))])


def vector_column(values: Vector, size: int) -> pa.Array:
    """Return a column of vectors with `size` components, from all their components in a row."""
    inner = pa.Array.from_buffers(pa.float32(), len(values), [None, pa.py_buffer(values)])
    return pa.FixedSizeListArray.from_arrays(inner, size)


def null_rows(column: pa.Array) -> npt.NDArray[np.bool_]:
    """Return True for each row of a column that is null."""
    bits = column.buffers()[0]
    if bits is None:
        return np.zeros(len(column), bool)
    present = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little").astype(bool)
    return ~present[column.offset : column.offset + len(column)]


def fixed_bytes(column: pa.Array, width: int) -> bytes:
    """Return the bytes of a column of values with a fixed width."""
    data: bytes = column.buffers()[1].to_pybytes()
    return data[column.offset * width : (column.offset + len(column)) * width]


def text_views(column: pa.Array) -> tuple[memoryview, memoryview]:
    """Return where the texts of a column begin and end, (n + 1,) numbers, and the bytes of all of them."""
    _, ends, data = column.buffers()
    return memoryview(ends).cast("i")[column.offset :], memoryview(data or b"")


def as_matrix(column: pa.Array, dimension: int) -> Vector:
    """Return a column of vectors as float32 (n, D), without copying."""
    values = np.frombuffer(column.buffers()[-1], np.float32, len(column) * dimension, 4 * dimension * column.offset)
    return values.reshape(len(column), dimension)
