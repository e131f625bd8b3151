"""What a target stored is compared with what was read."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from cbir.ingest.manage.readback import require_same

from cbir.errors import CbirError
from cbir.index.stored_ids import StoredIds
from cbir.records import Point, id_bytes
from cbir.stores.base import ReadBack
from tests.support.building import points_of, unit_vectors

POINTS = points_of(unit_vectors(250))


def check(stored: Sequence[Point], alone: bool = True) -> None:
    """Compare a target that stores these points with all that was read."""
    by_id = {point.id: point for point in stored}
    read_back = ReadBack(
        iter([(point.id, point.payload) for point in stored]),
        lambda ids: {point_id: by_id[point_id] for point_id in ids if point_id in by_id},
    )
    read = StoredIds.of((id_bytes(point.id), "", str(point.payload["sha256"])) for point in POINTS[:240])
    require_same("made in a test", read_back, read, POINTS[:240], alone)


def test_the_same_points_in_any_order_are_accepted() -> None:
    point = POINTS[0]
    reordered = dict(reversed(list({**point.payload, "n": [0.1 + 0.2]}.items())))
    check(POINTS[239::-1])
    with pytest.raises(CbirError, match="0 has another payload"):
        check([replace(point, payload=reordered), *POINTS[1:240]])


def test_other_points_are_accepted_unless_the_target_must_be_alone(caplog: pytest.LogCaptureFixture) -> None:
    check(POINTS, alone=False)
    assert "has 10 points that the source does not have. They are kept." in caplog.text
    with pytest.raises(CbirError, match="it has 10 points that were not read"):
        check(POINTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda point: replace(point, vector=np.roll(point.vector, 1)), "has another vector"),
        (lambda point: replace(point, payload={**point.payload, "label": "?"}), "has another payload"),
        (lambda point: replace(point, thumbnail=b"?"), "has another thumbnail"),
        (lambda point: replace(point, payload={**point.payload, "sha256": "?"}), "1 of 240 points are missing"),
    ],
)
def test_a_changed_point_is_found_wherever_it_is(change: Callable[[Point], Point], message: str) -> None:
    for i in (0, 100, 239):
        with pytest.raises(CbirError, match=f"made in a test does not hold what was read: .*{message}"):
            check([*POINTS[:i], change(POINTS[i]), *POINTS[i + 1 : 240]])


def test_a_missing_point_is_found() -> None:
    with pytest.raises(CbirError, match="1 of 240 points are missing or hold another image"):
        check(POINTS[1:240])
