"""Searches over HTTP, measured in a store without images."""

from pathlib import Path

from cbir.bench.core.workload import open_workload
from cbir.bench.http_api.measure import measure

from cbir.settings import Settings


def test_vectors_are_measured_where_there_are_no_images(made: Path) -> None:
    with open_workload([f"faiss:{made}/faiss"], "made", 5, 10, 1, Settings()) as workload:
        cases, ready_seconds = measure(workload, 2, 2, 0.1, Settings())
    assert [case.clients for case in cases] == [1, 1, 1, 2, 2]
    assert all(case.name.startswith("vector, ") for case in cases)
    for case in cases:
        assert case.milliseconds.low <= case.milliseconds.value <= case.milliseconds.high
        assert case.failed == 0
    assert ready_seconds > 0
