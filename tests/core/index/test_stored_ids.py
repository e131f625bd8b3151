"""The ids that a collection has stored, each with the version and the digest of its point."""

from dataclasses import replace

from cbir.index.stored_ids import StoredIds
from cbir.records import id_bytes, with_changes
from tests.support.contract import POINTS


def test_what_a_source_had_counts_as_stored_though_its_payload_was_changed_here() -> None:
    for version in ("", "7"):
        point = with_changes(replace(POINTS[0], version=version), {"label": "Boots"})
        stored = StoredIds.of([(id_bytes(point.id), point.version, point.digest)])
        assert stored.has(point.id, version, POINTS[0].digest)
        assert stored.has(point.id, "", point.digest)
        assert not stored.has(point.id, "", POINTS[1].digest)
