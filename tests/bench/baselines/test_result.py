"""How the result of `cbir-bench baselines` compares the stores with the libraries."""

from cbir.bench.baselines.result import behind, fastest
from cbir.bench.baselines.search import Candidate, Step
from cbir.bench.core.timing import Spread, times


def candidate(name: str, ours: bool, median: float | None) -> Candidate:
    step = None if median is None else Step(16, 0.99, 0.9, 0.8, times([median]), Spread(median, median, median))
    return Candidate(name, "", ours, at_recall=step)


def test_ours_are_compared_with_the_fastest_library_that_reaches_the_recall() -> None:
    made = [
        candidate("cbir edge", True, 3.0),
        candidate("cbir faiss", True, None),
        candidate("slow", False, 4.0),
        candidate("fast", False, 2.0),
        candidate("careless", False, None),
    ]
    assert fastest(made) is made[3]
    assert behind(made) == {"cbir edge": 1.5}
    assert fastest(made[:2]) is None and behind(made[:2]) == {}
