"""How the result of `cbir-bench baselines` compares the stores with the libraries."""

from dataclasses import replace

from cbir.bench.baselines.result import SUBJECT, BaselinesResult, present
from cbir.bench.baselines.search import Candidate, Step
from cbir.bench.core.timing import times

from cbir.tables import Range
from tests.support.readme import REPORT, read_report


def candidate(name: str, ours: bool, median: float | None) -> Candidate:
    milliseconds = median or 1.0
    step = Step(16, 0.97, 0.9, 0.8, times([milliseconds]), Range(milliseconds, milliseconds, milliseconds))
    return Candidate(name, ours, curve=[step], at_recall=step if median else None)


def verdicts(candidates: list[Candidate]) -> list[str]:
    """Return what a result with these candidates says first."""
    (kept,) = (result.result for result in read_report(REPORT).results if result.kind == "baselines")
    result: BaselinesResult = SUBJECT.load(kept)
    return list(present(replace(result, candidates=candidates, embedding=[])).verdicts)


def test_ours_are_compared_with_the_fastest_library_that_reaches_the_recall() -> None:
    made = [
        candidate("cbir edge", True, 3.0),
        candidate("cbir faiss", True, None),
        candidate("slow", False, 4.0),
        candidate("fast", False, 2.0),
        candidate("careless", False, None),
    ]
    assert verdicts(made) == [
        "cbir edge takes 1.50 times as long as fast, the fastest library, at recall 0.99.",
        "cbir faiss does not reach recall 0.99: 0.9700 at most.",
        "careless does not reach recall 0.99: 0.9700 at most.",
    ]
    assert verdicts(made[:1]) == []
