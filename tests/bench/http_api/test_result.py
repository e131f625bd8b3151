"""What the result of `cbir-bench http` says in words."""

from dataclasses import replace
from pathlib import Path

from cbir.bench.core.subject import store_envelope
from cbir.bench.core.workload import open_workload
from cbir.bench.http_api.result import Case, HttpResult, present

from cbir.settings import Settings
from cbir.tables import Range

CASES = [
    Case("vector, the store's own call", 1, Range(0.2, 0.2, 0.2), Range(5000, 5000, 5000), 0),
    Case("vector, a bare route", 1, Range(0.5, 0.5, 0.5), Range(2000, 2000, 2000), 0),
    Case("vector, cbir-serve", 1, Range(0.75, 0.7, 0.8), Range(1300, 1300, 1300), 0),
    Case("vector, a bare route", 16, Range(5, 5, 5), Range(4000, 4000, 4000), 0),
    Case("vector, cbir-serve", 16, Range(6, 6, 6), Range(3000, 3000, 3000), 0),
    Case("image, in Python", 1, Range(10, 10, 10), Range(100, 100, 100), 0),
    Case("image, cbir-serve", 1, Range(12.5, 12, 13), Range(80, 80, 80), 0),
    Case("image, cbir-serve", 16, Range(100, 100, 100), Range(128, 128, 128), 0),
]


def test_the_verdicts_are_what_the_cases_show(made: Path) -> None:
    with open_workload([f"faiss:{made}/faiss"], "made", 5, 10, 1, Settings()) as workload:
        header = store_envelope("http", workload, [])
    result = HttpResult(**header, rounds=1, ready_seconds=1.5, cases=CASES)
    assert present(result).verdicts == [
        "cbir-serve is ready after 1.50 s.",
        "A search by vector takes 0.55 ms more than the store's own call.",
        "cbir-serve answers 3,000 searches by vector a second for 16 clients, 0.75 times as many as a bare route.",
        "A search by image takes 1.25 times as long as in Python,"
        " and 16 clients get 1.60 times as many answers as one.",
    ]
    without = replace(result, cases=CASES[:5])
    assert len(present(without).verdicts) == 3
