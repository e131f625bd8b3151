"""How the result of `cbir-bench baselines` compares the stores with the libraries."""

from dataclasses import replace

from cbir.bench.baselines.result import SUBJECT, BaselinesResult, notes, present
from cbir.bench.baselines.search import Candidate, Step
from cbir.bench.core.timing import spread, times

from tests.support.readme import REPORT, read_report


def candidate(name: str, ours: bool, median: float | None, add: float = 0.0) -> Candidate:
    milliseconds = median or 1.0
    rounds = [milliseconds, 2 * milliseconds] * 3
    step = Step(16, 0.97, 0.9, 0.8, times(rounds), spread([milliseconds] * 2), rounds)
    additions = [add] * 6 if add else []
    return Candidate(name, ours, curve=[step], at_recall=step if median else None, rounds_add_ms=additions)


def verdicts(candidates: list[Candidate]) -> list[str]:
    """Return what a result with these candidates says first."""
    (kept,) = (result.result for result in read_report(REPORT).results if result.kind == "baselines")
    result: BaselinesResult = SUBJECT.load(kept)
    return list(present(replace(result, candidates=candidates, embedding=[], added=70)).verdicts)


def test_the_fastest_store_is_compared_with_every_library_that_reaches_the_recall() -> None:
    made = [
        candidate("cbir edge", True, 3.0, add=30.0),
        candidate("cbir flat", True, 6.0),
        candidate("cbir faiss", True, None),
        candidate("slow", False, 4.0, add=60.0),
        candidate("fast", False, 2.0, add=90.0),
        candidate("careless", False, None),
    ]
    where = "at recall@10 >= 0.99."
    assert verdicts(made) == [
        f"fast answers 1.50 [1.50, 1.50] times as fast as cbir edge {where}",
        f"cbir edge answers 1.33 [1.33, 1.34] times as fast as slow {where}",
        f"fast answers 3.00 [3.00, 3.00] times as fast as cbir flat {where}",
        "cbir edge adds 70 points, durable and found, 2.00 [2.00, 2.00] times as fast as slow.",
        "cbir faiss does not reach recall 0.99: 0.9700 at most.",
        "careless does not reach recall 0.99: 0.9700 at most.",
    ]
    assert verdicts(made[:1]) == []


def test_what_could_not_be_added_is_noted_and_the_rest_is_kept() -> None:
    made = replace(candidate("slow", False, 4.0), not_added="took more than 300 s")
    said = notes([made], [], 70)
    assert "slow: adding was not measured: took more than 300 s" in said
    assert any("Adding 70 points" in note for note in said) and not any("slow: not measured" in note for note in said)


def test_a_result_without_rounds_is_not_compared() -> None:
    ours, other = candidate("cbir edge", True, 3.0), candidate("fast", False, 2.0)
    assert other.at_recall is not None
    assert verdicts([ours, replace(other, at_recall=replace(other.at_recall, rounds_ms=[]))]) == []
