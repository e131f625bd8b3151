"""The vector log: whatever happens to the file, what is read is a prefix of what was appended."""

import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbir.index.log_format import segment_path
from cbir.index.log_writer import LogWriter, compact, regroup
from cbir.index.vector_log import VectorLog
from cbir.records import Point, digest, point_id

DIMENSION = 5


def a_point(number: int, version: str = "1") -> Point:
    rng = np.random.default_rng(zlib.crc32(f"{number} {version}".encode()))
    vector = rng.normal(size=DIMENSION).astype(np.float32)
    payload = {"key": str(number), "label": None, "sha256": version, "name": "é" * (number % 7)}
    return Point(
        point_id("set", str(number)), vector / np.linalg.norm(vector), payload, version, b"t" * number, digest(payload)
    )


def write(folder: Path, frames: list[list[Point]], segment: int = 1) -> Path:
    path = segment_path(folder, segment)
    writer = LogWriter(path, DIMENSION)
    for frame in frames:
        writer.append(frame)
    writer.close()
    return path


def same(log: VectorLog, points: list[Point]) -> bool:
    by_id = {point.id: point for point in points}
    assert len(log) == len(by_id)
    for position in range(len(log)):
        point = by_id[log.id(position)]
        assert log.position(point.id) == position
        assert log.payload(position) == point.payload
        assert log.thumbnail(position) == point.thumbnail
        assert np.array_equal(log.vector(position), point.vector)
    return True


FRAMES = st.lists(st.lists(st.integers(0, 30), max_size=6), max_size=8)


@settings(max_examples=60, deadline=None)
@given(FRAMES, st.integers(0, 8))
def test_what_was_appended_is_read_and_the_last_of_one_id_counts(frames: list[list[int]], cut: int) -> None:
    versions = [[a_point(number, f"{at}") for number in dict.fromkeys(frame)] for at, frame in enumerate(frames)]
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), versions[:cut], 1)
        write(Path(name), versions[cut:], 2)
        log = VectorLog(Path(name), DIMENSION)
        last = {point.id: point for frame in versions for point in frame}
        assert same(log, list(last.values()))
        stored = log.stored_ids()
        assert len(stored) == len(last)
        assert all(stored.has(point.id, point.version, None) for point in last.values())
        assert all(stored.has(point.id, "", digest(point.payload)) for point in last.values())
        assert not any(stored.has(point.id, "other", "other") for point in last.values())
        assert set(stored.unmarked()) == set(last)
        assert log.position(point_id("set", "none")) is None
        assert np.array_equal(
            log.vectors(), np.array([last[log.id(at)].vector for at in range(len(log))]).reshape(-1, DIMENSION)
        )
        chunks = [identity for _, ids, _, _ in log.chunks(2) for identity in ids]
        assert chunks == [log.id(at) for at in range(len(log))]


def write_or_delete(folder: Path, steps: list[tuple[bool, list[int]]], segment: int) -> None:
    writer = LogWriter(segment_path(folder, segment), DIMENSION)
    for at, (kept, numbers) in enumerate(steps):
        if kept:
            writer.append([a_point(number, f"{segment} {at}") for number in dict.fromkeys(numbers)])
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
        for at, (kept, numbers) in enumerate(steps):
            for number in numbers:
                expected.pop(number, None)
                if kept:
                    expected[number] = a_point(number, f"{segment} {at}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_or_delete(folder, first, 1)
        write_or_delete(folder, second, 2)
        assert same(VectorLog(folder, DIMENSION), list(expected.values()))
        regroup(segment_path(folder, 2), DIMENSION)
        order = [VectorLog(folder, DIMENSION).id(at) for at in range(len(expected))]
        assert same(VectorLog(folder, DIMENSION), list(expected.values()))
        kept = [segment_path(folder, number).read_bytes() for number in (1, 2)]
        compact(folder, DIMENSION)
        log = VectorLog(folder, DIMENSION)
        assert same(log, list(expected.values()))
        assert [log.id(at) for at in range(len(log))] == order
        assert log.dead == 0
        for number in range(2, 2 - crash, -1):  # it crashed before it removed the last so many
            segment_path(folder, number).write_bytes(kept[number - 1])
        assert same(VectorLog(folder, DIMENSION), list(expected.values()))


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_torn_or_flipped_tail_leaves_a_prefix_and_appending_goes_on(data: st.DataObject) -> None:
    frames = [[a_point(3 * at + one) for one in range(3)] for at in range(5)]
    with tempfile.TemporaryDirectory() as name:
        path = write(Path(name), frames)
        whole = path.read_bytes()
        ends = [0]
        for count in range(1, 6):
            with tempfile.TemporaryDirectory() as other:
                ends.append(write(Path(other), frames[:count]).stat().st_size)
        at = data.draw(st.integers(0, len(whole) - 1))
        if data.draw(st.booleans()):
            path.write_bytes(whole[:at])
        else:
            path.write_bytes(whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :])
        intact = max(count for count in range(6) if ends[count] <= at)
        assert same(VectorLog(Path(name), DIMENSION), [point for frame in frames[:intact] for point in frame])
        write(Path(name), frames[intact:])
        assert same(VectorLog(Path(name), DIMENSION), [point for frame in frames for point in frame])


def test_a_log_costs_no_process_half_a_second_for_libraries_that_it_does_not_need(tmp_path: Path) -> None:
    writer = LogWriter(segment_path(tmp_path, 1), DIMENSION)
    writer.append([a_point(number) for number in range(9)])
    writer.delete([a_point(0).id])
    writer.close()
    read = f"list(cbir.index.vector_log.VectorLog(pathlib.Path({str(tmp_path)!r}), {DIMENSION}).points())"
    code = f"import pathlib, sys, cbir.index.vector_log; print(len({read}), 'pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "8 False\n"


@pytest.mark.parametrize("rows", [0, 1, 2500])
def test_release_changes_nothing(rows: int, tmp_path: Path) -> None:
    write(tmp_path, [[a_point(number % 50, str(number)) for number in range(rows)]])
    log = VectorLog(tmp_path, DIMENSION)
    before = log.vectors()
    log.release()
    assert np.array_equal(before, log.vectors())
