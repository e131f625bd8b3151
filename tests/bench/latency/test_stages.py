"""How the time of a search is divided."""

from pathlib import Path

import pytest
from cbir.bench.core.workload import open_workload
from cbir.bench.latency import stages

from cbir.settings import Settings
from tests.support.building import both


def test_stages_add_up(index: Path) -> None:
    with open_workload(both(index), None, 5, 8, 1, Settings()) as workload:
        found = stages.measure(workload, Settings())
    assert [part.store for part in found] == both(index)
    for part in found:
        assert sum(part.shares.values()) == pytest.approx(1)
        assert part.embedding_ms == pytest.approx(sum(part.parts_ms.values()))
        assert part.shares["embedding"] > 0.3 and part.transport_ms is None


def test_a_collection_without_images_has_no_stages(made: Path) -> None:
    with open_workload(both(made), "made", 5, 8, 1, Settings()) as workload:
        assert stages.measure(workload, Settings()) == []
