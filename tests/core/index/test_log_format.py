"""The file format of the vector log."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from cbir.index.log_format import (
    HEADER,
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
    data = bytearray(segment.read_bytes())
    data[sizes[0] + HEADER.size] ^= 1
    segment.write_bytes(data)
    assert [size for _, size in frames(map_segment(segment))] == sizes[:1]


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
