"""A reader of a growing log sees each row once, in order, and no frame that is not complete."""

from pathlib import Path

from cbir.index.log_follower import LogFollower
from cbir.index.log_format import fixed_bytes, segment_path
from cbir.index.log_writer import LogWriter, regroup
from cbir.records import id_bytes, point_id
from tests.support.logs import DIMENSION, make_point


def new_rows(follower: LogFollower) -> list[bytes]:
    joined = b"".join(fixed_bytes(batch.column(0), 16) for batch in follower.batches())
    return [joined[at : at + 16] for at in range(0, len(joined), 16)]


def ids(*numbers: int) -> list[bytes]:
    return [id_bytes(point_id("set", str(number))) for number in numbers]


def test_each_row_is_read_once_though_a_complete_segment_is_rewritten(tmp_path: Path) -> None:
    follower = LogFollower([tmp_path], DIMENSION)
    assert new_rows(follower) == []
    writer = LogWriter(segment_path(tmp_path, 1), DIMENSION)
    writer.append([make_point(0, "a"), make_point(1, "a")])
    assert new_rows(follower) == ids(0, 1)
    assert new_rows(follower) == []
    writer.append([make_point(2, "a")])
    writer.close()
    regroup(writer.segment, DIMENSION)
    second = LogWriter(segment_path(tmp_path, 2), DIMENSION)
    second.append([make_point(3, "a")])
    assert new_rows(follower) == ids(2, 3)
    second.delete([point_id("set", "1")])
    assert new_rows(follower) == ids(1)
    second.close()
    follower.close()


def test_segments_are_followed_to_the_folder_that_they_are_moved_to(tmp_path: Path) -> None:
    building, tail = tmp_path / "building", tmp_path / "tail"
    tail.mkdir()
    follower = LogFollower([building, tail], DIMENSION)
    for number in (1, 2, 3):
        writer = LogWriter(segment_path(building, number), DIMENSION)
        writer.append([make_point(number, "a")])
        if number == 1:
            assert new_rows(follower) == ids(1)
        writer.append([make_point(number + 10, "a")])
        writer.close()
        writer.segment.rename(tail / writer.segment.name)
    assert new_rows(follower) == ids(11, 2, 12, 3, 13)
    follower.close()


def test_an_incomplete_frame_is_read_when_it_is_complete(tmp_path: Path) -> None:
    whole = LogWriter(segment_path(tmp_path / "whole", 1), DIMENSION)
    whole.append([make_point(0, "a")])
    first = whole.size
    whole.append([make_point(1, "a")])
    whole.close()
    data = whole.segment.read_bytes()
    segment = segment_path(tmp_path, 1)
    follower, seen = LogFollower([tmp_path], DIMENSION), list[bytes]()
    for end in range(0, len(data), 7):
        segment.write_bytes(b"")  # the file is cut and written again, as after a full disk
        segment.write_bytes(data[:end])
        seen += new_rows(follower)
        assert len(seen) == (end >= first)
    segment.write_bytes(data)
    assert seen + new_rows(follower) == ids(0, 1)
    follower.close()
