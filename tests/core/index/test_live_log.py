"""A base log and its tail together have what one log of all frames has."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cbir.index.live_log import LiveLog
from cbir.index.log_format import segment_path
from cbir.index.log_writer import LogWriter
from cbir.index.vector_log import Segment, VectorLog, open_segment
from tests.support.logs import DIMENSION, make_point

CHANGES = st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 20), max_size=6, unique=True)), max_size=5)


def write(folder: Path, number: int, changes: list[tuple[bool, list[int]]]) -> Segment:
    """Write a segment that adds or deletes the points of these numbers; return it, open."""
    writer = LogWriter(segment_path(folder, number), DIMENSION)
    for at, (is_added, numbers) in enumerate(changes):
        points = [make_point(each, f"{number}.{at}") for each in numbers]
        writer.append(points) if is_added else writer.delete([point.id for point in points])
    writer.close()
    return open_segment(writer.segment, DIMENSION)


@settings(max_examples=60, deadline=None)
@given(st.lists(CHANGES, min_size=1, max_size=4), st.integers(0, 4))
def test_it_has_the_points_of_one_log(segments: list[list[tuple[bool, list[int]]]], cut: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        opened = [write(Path(name), number, changes) for number, changes in enumerate(segments, 1)]
        whole, base = VectorLog(opened, DIMENSION), VectorLog(opened[:cut], DIMENSION)
        followed = LiveLog(base)
        for segment in opened[cut:]:
            followed = followed.followed_by([segment])
        for live in (LiveLog(base, opened[cut:]), followed):
            expected = {point.id: point for point in whole.points()}
            ids = sorted(expected)
            assert len(live) == len(expected) == len(live.living())
            assert [live.id(position) for position in live.order.tolist()] == ids
            assert {point.id: dict(point.payload) for point in live.points()} == {
                point.id: dict(point.payload) for point in expected.values()
            }
            assert dict(live.described()) == {name: dict(point.payload) for name, point in expected.items()}
            for number in range(21):
                point_id = make_point(number).id
                position = live.position(point_id)
                assert (position is not None) == (point_id in expected)
                assert [live.id(at) for at in live.after(point_id).tolist()] == [
                    each for each in ids if each > point_id
                ]
                if position is not None:
                    assert live.payload(position) == expected[point_id].payload
                    assert live.stamp(position) == (expected[point_id].version, expected[point_id].digest)
                    assert live.thumbnail(position) == expected[point_id].thumbnail
                    assert np.array_equal(live.vector(position), expected[point_id].vector)
            assert live.find([*ids, make_point(99).id]).keys() == expected.keys()
            vectors = [expected[live.id(position)].vector for position in live.living()]
            assert np.array_equal(live.vectors(), np.array(vectors).reshape(-1, DIMENSION))
            assert {live.id(at) for at in np.flatnonzero(live.alive)} == expected.keys()
            assert live.table.facet("sha256", ()) == whole.table.facet("sha256", ())
            assert live.table.kinds == whole.table.kinds
