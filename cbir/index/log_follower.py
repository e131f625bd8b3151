"""Reads a vector log while another process writes it."""

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import pyarrow as pa

from cbir.index.log_format import HEADER, MAGIC, schema_of, segments


class LogFollower:
    """Yields each row that is appended to a log, once and in order.

    The segments have one numbering, and lie in one of several folders, as publishing moves them. A segment stays open
    until there is a later one: when it is complete, a file with the same rows may take its place. It is not mapped into
    memory, since the writer may cut off a part of a frame.
    """

    def __init__(self, folders: Sequence[Path], dimension: int):
        self._folders, self._schema = folders, schema_of(dimension)
        self._name = ""
        self._file: IO[bytes] | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the frames that were appended since the last call."""
        while True:
            following = self._open_next()
            while body := self._next_frame():
                yield pa.ipc.read_record_batch(pa.py_buffer(body), self._schema)
            if following is None:
                return
            self.close()
            self._name, self._file = following

    def _open_next(self) -> tuple[str, IO[bytes]] | None:
        """Return the name and the file of the segment after the one that is read, None if there is none."""
        later = {path.name: path for folder in self._folders for path in segments(folder) if path.name > self._name}
        if not later:
            return None
        try:
            return min(later), later[min(later)].open("rb", buffering=0)
        except FileNotFoundError:  # it is moved right now, and found the next time
            return None

    def _next_frame(self) -> bytes:
        """Return the body of the next frame, b"" if it is not complete yet."""
        if self._file is None:
            return b""
        start = self._file.tell()
        header = self._file.read(HEADER.size)
        if len(header) == HEADER.size:
            magic, checksum, length = HEADER.unpack(header)
            body = self._file.read(length) if magic == MAGIC else b""
            if len(body) == length and zlib.crc32(body) == checksum:
                return body
        self._file.seek(start)
        return b""

    def close(self) -> None:
        """Close the segment that is read."""
        if self._file is not None:
            self._file.close()
