"""Whatever happens to a log while it is written, the points that are read are a prefix of those appended."""

import tempfile
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbir.index.log_format import frames, map_segment, schema_of, segment_path, segments
from cbir.index.log_writer import LogWriter, compact, regroup
from cbir.index.vector_log import VectorLog
from cbir.records import Point, point_id
from tests.support.logs import DIMENSION, has_points, make_point, write_log


def write_or_delete(folder: Path, steps: list[tuple[bool, list[int]]], segment: int) -> None:
    writer = LogWriter(segment_path(folder, segment), DIMENSION)
    for step, (kept, numbers) in enumerate(steps):
        if kept:
            writer.append([make_point(number, f"{segment} {step}") for number in dict.fromkeys(numbers)])
        else:
            writer.delete([point_id("set", str(number)) for number in numbers])
    writer.close()


STEPS = st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 12), max_size=5)), max_size=8)


@settings(max_examples=60, deadline=None)
@given(STEPS, STEPS, st.integers(0, 2))
def test_what_was_deleted_is_gone_and_neither_regrouping_nor_compacting_changes_what_counts(
    first: list[tuple[bool, list[int]]], second: list[tuple[bool, list[int]]], crash: int
) -> None:
    expected: dict[int, Point] = {}
    for segment, steps in ((1, first), (2, second)):
        for step, (kept, numbers) in enumerate(steps):
            for number in numbers:
                expected.pop(number, None)
                if kept:
                    expected[number] = make_point(number, f"{segment} {step}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_or_delete(folder, first, 1)
        write_or_delete(folder, second, 2)
        assert has_points(VectorLog(folder, DIMENSION), list(expected.values()))
        regroup(segment_path(folder, 2), DIMENSION)
        order = [VectorLog(folder, DIMENSION).id(at) for at in range(len(expected))]
        assert has_points(VectorLog(folder, DIMENSION), list(expected.values()))
        kept = [segment_path(folder, number).read_bytes() for number in (1, 2)]
        compact(folder, DIMENSION)
        log = VectorLog(folder, DIMENSION)
        assert has_points(log, list(expected.values()))
        assert [log.id(at) for at in range(len(log))] == order
        assert log.dead == 0
        for number in range(2, 2 - crash, -1):  # it crashed before it removed the last so many
            segment_path(folder, number).write_bytes(kept[number - 1])
        assert has_points(VectorLog(folder, DIMENSION), list(expected.values()))


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_torn_or_flipped_tail_leaves_a_prefix_and_appending_goes_on(data: st.DataObject) -> None:
    frames = [[make_point(3 * frame + i) for i in range(3)] for frame in range(5)]
    with tempfile.TemporaryDirectory() as name:
        path = write_log(Path(name), frames)
        whole = path.read_bytes()
        ends = [0]
        for count in range(1, 6):
            with tempfile.TemporaryDirectory() as other:
                ends.append(write_log(Path(other), frames[:count]).stat().st_size)
        at = data.draw(st.integers(0, len(whole) - 1))
        if data.draw(st.booleans()):
            path.write_bytes(whole[:at])
        else:
            path.write_bytes(whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :])
        intact = max(count for count in range(6) if ends[count] <= at)
        assert has_points(VectorLog(Path(name), DIMENSION), [point for frame in frames[:intact] for point in frame])
        write_log(Path(name), frames[intact:])
        assert has_points(VectorLog(Path(name), DIMENSION), [point for frame in frames for point in frame])


def test_a_frame_that_a_full_disk_cut_is_removed_again(tmp_path: Path) -> None:
    writer = LogWriter(segment_path(tmp_path, 1), DIMENSION)
    writer.append([make_point(1)])
    size, file = writer.size, writer._file

    class FullDisk:
        """The file, on a disk with room for ten bytes more."""

        def write(self, data: memoryview) -> int:
            if file.tell() > size:
                raise OSError(28, "No space left on device")
            return file.write(data[:10])

        def __getattr__(self, name: str) -> object:
            return getattr(file, name)

    writer._file = FullDisk()  # type: ignore[assignment]
    with pytest.raises(OSError, match="No space left"):
        writer.append([make_point(2)])
    writer._file = file
    writer.append([make_point(3)])
    writer.close()
    assert has_points(VectorLog(tmp_path, DIMENSION), [make_point(1), make_point(3)])


@pytest.mark.parametrize(
    ("written", "regrouped"),
    [
        ([1] * 2, [2]),
        ([1] * 600, [250, 250, 100]),
        ([99, 100], [199]),
        ([100, 100], [100, 100]),
        ([1], [1]),
    ],
    ids=["two", "many", "nearly large", "large", "one"],
)
def test_small_frames_become_large_ones(written: list[int], regrouped: list[int], tmp_path: Path) -> None:
    numbers = iter(range(sum(written)))
    points = [[make_point(number) for number in islice(numbers, rows)] for rows in written]
    segment = write_log(tmp_path, points)
    before = segment.stat().st_ino
    regroup(segment, DIMENSION)
    schema = schema_of(DIMENSION)
    found = [pa.ipc.read_record_batch(body, schema).num_rows for body, _ in frames(map_segment(segment))]
    assert found == regrouped
    assert (segment.stat().st_ino == before) == (found == written), "it was rewritten without need"
    assert has_points(VectorLog(tmp_path, DIMENSION), [point for frame in points for point in frame])


def test_what_is_appended_is_in_the_file_at_once(tmp_path: Path) -> None:
    writer = LogWriter(segment_path(tmp_path / "building" / "log", 1), DIMENSION)
    writer.append([make_point(1)])
    assert writer.segment.stat().st_size == writer.size > 0
    writer.close()


def test_compacting_leaves_one_segment_without_dead_rows(tmp_path: Path) -> None:
    write_log(tmp_path, [[make_point(1), make_point(2)]], 1)
    write_log(tmp_path, [[make_point(1, "2")]], 2)
    write_log(tmp_path, [[make_point(3)]], 5)
    assert VectorLog(tmp_path, DIMENSION).dead == 1
    compact(tmp_path, DIMENSION)
    assert segments(tmp_path) == [segment_path(tmp_path, 6)]
    assert VectorLog(tmp_path, DIMENSION).dead == 0
