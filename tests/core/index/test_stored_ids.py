"""The ids that a collection has stored, each with the version and the digest of its point."""

from dataclasses import replace

import pytest

from cbir.index import stored_ids
from cbir.index.stored_ids import StoredIds
from cbir.records import id_bytes, point_id, with_changes
from tests.support.contract import POINTS


def test_what_a_source_had_counts_as_stored_though_its_payload_was_changed_here() -> None:
    for version in ("", "7"):
        point = with_changes(replace(POINTS[0], version=version), {"label": "Boots"})
        stored = StoredIds.of([(id_bytes(point.id), point.version, point.digest)])
        assert stored.has(point.id, version, POINTS[0].digest)
        assert stored.has(point.id, "", point.digest)
        assert not stored.has(point.id, "", POINTS[1].digest)


IDS = [*(point_id("set", str(number)) for number in range(9)), "b6d7c0c4-6f0e-5d0e-9c43-1f6b1f0c0000"]


def stored_of(ids: list[str], version: str = "v", digest: str = "d") -> StoredIds:
    return StoredIds.of((id_bytes(point_id), version, digest) for point_id in ids)


def test_ids_are_found_by_version_or_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_ids, "_CHUNK", 3)
    stored = stored_of(IDS[2:])
    assert len(stored) == 8
    assert [point_id in stored for point_id in IDS] == [False] * 2 + [True] * 8
    for stored_id in IDS[2:]:
        assert stored.has(stored_id, "v", None) is stored.has(stored_id, "w", "d") is True
        assert stored.has(stored_id, "w", None) is stored.has(stored_id, "", "e") is False
    assert stored.has(IDS[0], "v", "d") is False
    assert stored_of(IDS, "").has(IDS[0], "", None) is False
    assert stored_of(IDS, "\udcff").has(IDS[0], "\udcff", None) is True


def test_ids_that_are_not_marked_or_not_among_others_are_listed() -> None:
    stored = stored_of(IDS[2:])
    for stored_id in IDS[:5]:
        stored.mark(stored_id)
    assert sorted(stored.unmarked()) == sorted(IDS[5:])
    assert stored.count_unmarked() == len(IDS[5:])
    assert sorted(stored.without(stored_of(IDS[:6]))) == sorted(IDS[6:])


def test_nothing_is_among_no_ids() -> None:
    empty = stored_of([])
    assert (len(empty), IDS[0] in empty, empty.unmarked(), empty.without(stored_of(IDS))) == (0, False, [], [])
