"""All cases of the command."""

import pytest
from cbir.bench.growth import measure as module
from cbir.bench.growth.measure import CASES, GrowthOptions, Measured, measure
from cbir.bench.growth.workplace import Workplace

OPTIONS = GrowthOptions(5, 5, 1, 2, 5, None)


def test_a_case_that_fails_does_not_stop_the_others(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(place: Workplace, options: GrowthOptions, found: Measured) -> None:
        raise ValueError("out of order")

    monkeypatch.setattr(module, "CASES", {**CASES, "search": fail})
    found, advanced = Measured(), list[int]()
    measure(place, ["search", "commits"], OPTIONS, found, advanced.append)
    assert found.failed == {"1,200 x 32, search": "out of order"}
    assert (len(found.commits), len(found.grown), advanced) == (1, 1, [1, 1])


@pytest.mark.bench
def test_each_case_has_a_result(place: Workplace) -> None:
    found = Measured()
    measure(place, list(CASES), OPTIONS, found, lambda count: None)
    assert found.failed == {}
    sizes = {name: len(rows) for name, rows in vars(found).items() if rows}
    assert sizes == {"changes": 4, "commits": 1, "grown": 3, "first_ingests": 1, "pauses": 1}
