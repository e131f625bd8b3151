"""The size of indexes."""

from dataclasses import replace
from pathlib import Path

import pytest
from cbir.bench.core.workload import open_workload
from cbir.bench.latency import footprint

from cbir.settings import Settings


def test_the_memory_that_an_index_takes(large: list[str]) -> None:
    with open_workload(large, None, 5, 20, 1, Settings()) as workload:
        edge, flat = (footprint.measure(info, workload.queries, 5) for info in workload.infos)
        assert footprint.measure(replace(workload.infos[0], url="http://localhost:6333"), workload.queries, 5) is None
    assert edge is not None
    assert flat is not None
    assert (edge.share, flat.share) == (pytest.approx(1, abs=0.1), pytest.approx(1, abs=0.1))
    assert 28 < edge.walked_megabytes < edge.disk_megabytes < 40
    assert 28 < flat.walked_megabytes == flat.disk_megabytes < 30
    if Path("/proc/self/smaps_rollup").exists():
        assert edge.own_megabytes < 10 < 28 < flat.own_megabytes < 35
        assert edge.mapped_megabytes > 0
