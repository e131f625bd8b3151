"""The first searches of a new process, and the size of indexes."""

from pathlib import Path

import pytest
from cbir.bench.latency import opening

from tests.support.building import both, build, unit_vectors


def test_the_first_searches_are_those_of_a_process_of_its_own(made: Path) -> None:
    for url in both(made):
        found, size = opening.measure(url, "made", 5, 1, 1)
        assert found and size and found.dropped
        assert found.open_ms.value > 0 and found.first_ms.value > 0 and found.warm_ms.value > 0
    assert opening.measure("http://localhost:6333", "made", 5, 1, 1) == (None, None)


def test_the_memory_that_an_index_takes(large: list[str]) -> None:
    (_, edge), (_, flat) = (opening.measure(url, "made", 5, 1, 1) for url in large)
    assert edge is not None
    assert flat is not None
    assert (edge.share, flat.share) == (pytest.approx(1, abs=0.1), pytest.approx(1, abs=0.1))
    assert 28 < edge.walked < edge.disk < 40
    assert 28 < flat.walked == flat.disk < 30
    if Path("/proc/self/smaps_rollup").exists():
        assert max(edge.own, flat.own) < 10
        assert min(edge.mapped, flat.mapped) > 25


def test_points_that_are_in_no_generation_yet_count(tmp_path: Path) -> None:
    urls = both(tmp_path / "index")
    build(urls, unit_vectors(0))
    build(urls, unit_vectors(40))
    _, size = opening.measure(urls[1], "made", 5, 1, 1)
    assert size and size.share > 0
