"""The vector log: whatever happens to the file, what is read is a prefix of what was appended."""

import subprocess
import sys
import tempfile
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbir.index.live_log import LiveLog
from cbir.index.log_format import segment_path
from cbir.index.log_writer import LogWriter
from cbir.index.stored_ids import LogIds
from cbir.index.vector_log import VectorLog
from cbir.records import digest, point_id
from tests.support.logs import DIMENSION, has_points, make_point, write_log

FRAMES = st.lists(st.lists(st.integers(0, 30), max_size=6), max_size=8)


@settings(max_examples=60, deadline=None)
@given(FRAMES, st.integers(0, 8))
def test_what_was_appended_is_read_and_the_last_of_one_id_counts(frames: list[list[int]], cut: int) -> None:
    versions = [[make_point(number, f"{at}") for number in dict.fromkeys(frame)] for at, frame in enumerate(frames)]
    with tempfile.TemporaryDirectory() as name:
        write_log(Path(name), versions[:cut], 1)
        write_log(Path(name), versions[cut:], 2)
        log = VectorLog(Path(name), DIMENSION)
        last = {point.id: point for frame in versions for point in frame}
        assert has_points(log, list(last.values()))
        stored = LogIds(LiveLog(log))
        assert len(stored) == len(last)
        assert all(stored.has(point.id, point.version, None) for point in last.values())
        assert all(stored.has(point.id, "", digest(point.payload)) for point in last.values())
        assert not any(stored.has(point.id, "other", "other") for point in last.values())
        assert set(stored.unmarked()) == set(last)
        assert log.position(point_id("set", "none")) is None
        assert np.array_equal(
            log.vectors(), np.array([last[log.id(at)].vector for at in range(len(log))]).reshape(-1, DIMENSION)
        )
        assert [point.id for point in log.points()] == [log.id(position) for position in range(len(log))]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=12))
def test_ids_that_agree_in_their_first_half_are_told_apart(halves: list[tuple[int, int]]) -> None:
    ids = [str(uuid.UUID(int=(first << 64) + second)) for first, second in halves]
    with tempfile.TemporaryDirectory() as name:
        write_log(Path(name), [[replace(make_point(0, str(i)), id=ids[i])] for i in range(len(ids))])
        log = VectorLog(Path(name), DIMENSION)
        last = {point_id: str(i) for i, point_id in enumerate(ids)}
        assert {log.id(position): log.stamp(position)[0] for position in range(len(log))} == last
        assert [log.id(position) for position in log.order] == sorted(last)
        assert [log.position(log.id(position)) for position in range(len(log))] == list(range(len(log)))


def test_a_log_costs_no_process_half_a_second_for_libraries_that_it_does_not_need(tmp_path: Path) -> None:
    writer = LogWriter(segment_path(tmp_path, 1), DIMENSION)
    writer.append([make_point(number) for number in range(9)])
    writer.delete([make_point(0).id])
    writer.close()
    read = f"list(cbir.index.vector_log.VectorLog(pathlib.Path({str(tmp_path)!r}), {DIMENSION}).points())"
    code = f"import pathlib, sys, cbir.index.vector_log; print(len({read}), 'pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "8 False\n"


@pytest.mark.parametrize("rows", [0, 1, 2500])
def test_release_changes_nothing(rows: int, tmp_path: Path) -> None:
    write_log(tmp_path, [[make_point(number % 50, str(number)) for number in range(rows)]])
    log = VectorLog(tmp_path, DIMENSION)
    before = log.vectors()
    log.release()
    assert np.array_equal(before, log.vectors())
