"""The first searches of a new process."""

from pathlib import Path

from cbir.bench.latency import cold

from tests.support.building import both


def test_the_first_searches_are_those_of_a_process_of_its_own(made: Path) -> None:
    for url in both(made):
        found = cold.measure(url, "made", 5, 1, 1)
        assert found and found.dropped
        assert found.open_ms.median > 0 and found.first_ms.median > 0 and found.warm_ms.median > 0
    assert cold.measure("http://localhost:6333", "made", 5, 1, 1) is None
