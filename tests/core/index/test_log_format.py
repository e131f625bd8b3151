"""The file format of the vector log."""

import mmap
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from cbir.index import log_format
from cbir.index.log_format import (
    HEADER,
    MAGIC,
    as_matrix,
    fixed_bytes,
    frames,
    id_column,
    map_segment,
    null_rows,
    segment_path,
    segments,
    text_column,
    vector_column,
)
from tests.support.logs import make_point, write_log


def test_segments_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    paths = [segment_path(tmp_path, number) for number in (2, 10, 1)]
    for path in paths:
        path.touch()
    assert segments(tmp_path) == [paths[2], paths[0], paths[1]]


def test_an_empty_segment_has_no_frames(tmp_path: Path) -> None:
    segment_path(tmp_path, 1).touch()
    assert list(frames(map_segment(segment_path(tmp_path, 1)))) == []


def test_frames_end_at_the_first_damaged_one(tmp_path: Path) -> None:
    segment = write_log(tmp_path, [[make_point(1)], [make_point(2)], [make_point(3)]])
    sizes = [size for _, size in frames(map_segment(segment))]
    assert sum(sizes) == segment.stat().st_size
    data = segment.read_bytes()
    for offset in (0, HEADER.size):
        damaged = bytearray(data)
        damaged[sizes[0] + offset] ^= 1
        segment.write_bytes(damaged)
        assert [size for _, size in frames(map_segment(segment))] == sizes[:1]
        assert [size for _, size in frames(map_segment(segment), skip_damaged=True)] == [sizes[0], sizes[2]]
    segment.write_bytes(b"x" + data[:-1])
    assert [size for _, size in frames(map_segment(segment), skip_damaged=True)] == sizes[:2]


@pytest.mark.parametrize("more", [0, 8])
def test_pages_are_released_after_the_frames_that_follow_them(
    more: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranges: list[tuple[int, ...]] = []

    class Recorder(mmap.mmap):
        def madvise(self, *arguments: int) -> None:
            ranges.append(arguments)

    page = mmap.PAGESIZE
    monkeypatch.setattr(log_format, "_RELEASE_BYTES", 6 * page)
    body = bytes(3 * page - HEADER.size + more)
    (tmp_path / "log").write_bytes((HEADER.pack(MAGIC, zlib.crc32(body), len(body)) + body) * 6)
    with (tmp_path / "log").open("rb") as file:
        assert len(list(frames(Recorder(file.fileno(), 0, access=mmap.ACCESS_READ)))) == 6
    assert ranges == [
        (mmap.MADV_DONTNEED, start, length) for start, length in ((0, 0), (0, 6 * page), (6 * page, 6 * page))
    ]


def test_columns_hold_the_values_they_are_made_of() -> None:
    ids = [bytes([number] * 16) for number in range(3)]
    vectors = np.arange(12, dtype=np.float32)
    assert text_column(["é".encode(), b"", b"b"], pa.string()).to_pylist() == ["é", "", "b"]
    assert id_column(ids).to_pylist() == ids
    assert fixed_bytes(id_column(ids).slice(1), 16) == ids[1] + ids[2]
    column = vector_column(vectors, 4)
    assert column.to_pylist() == vectors.reshape(3, 4).tolist()
    assert np.array_equal(as_matrix(column.slice(1), 4), vectors.reshape(3, 4)[1:])


def test_null_rows_are_found_in_a_part_of_a_column_too() -> None:
    column = pa.array(["a", None, "b", None])
    assert null_rows(column).tolist() == [False, True, False, True]
    assert null_rows(column.slice(1, 2)).tolist() == [True, False]
    assert null_rows(text_column([b"a", b"b"], pa.string())).tolist() == [False, False]


def test_a_frame_may_be_empty(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(HEADER.pack(MAGIC, 0, 0))
    assert [(body.size, size) for body, size in frames(map_segment(tmp_path / "log"))] == [(0, HEADER.size)]
