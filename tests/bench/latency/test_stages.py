"""How the time of a search is divided."""

from pathlib import Path

import pytest
from cbir.bench.core.workload import open_workload
from cbir.bench.latency import stages

from cbir.settings import Settings
from tests.support.building import both


def test_stages_add_up(index: Path) -> None:
    with open_workload(both(index), None, 5, 8, 1, Settings()) as workload:
        found = [stages.measure(workload, i, Settings()) for i in range(2)]
    for part in found:
        assert part is not None
        assert list(part.milliseconds) == ["decode", "preprocess", "model", "engine", "protocol"]
        embedding = sum(part.milliseconds[name] for name in ("decode", "preprocess", "model"))
        assert part.embedding_share == pytest.approx(embedding / sum(part.milliseconds.values()))
        assert 0 < part.embedding_share < 1
        assert part.milliseconds["protocol"] >= 0, "cbir adds nothing if the bare calls happened to take longer"
        assert min(spent for name, spent in part.milliseconds.items() if name != "protocol") > 0


def test_a_collection_without_images_has_no_stages(made: Path) -> None:
    with open_workload(both(made), "made", 5, 8, 1, Settings()) as workload:
        assert stages.measure(workload, 0, Settings()) is None
