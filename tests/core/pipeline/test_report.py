"""The report of a run adds up what its chunks report."""

import json
import time

from cbir.pipeline.report import IngestReport
from cbir.pipeline.workers import ChunkResult
from cbir.records import Failure


def test_chunks_and_failures_are_added_up() -> None:
    report = IngestReport("c", ["edge:./index"], workers=2)
    for _ in range(2):
        report.add(ChunkResult(read=5, unchanged=2, remembered=1, seconds={"read": 1.0, "decode": 2.0, "embed": 4.0}))
    report.skip(
        [Failure("1", "a.jpg", "empty file"), Failure("2", "b.jpg", "too large"), Failure("3", "c.jpg", "empty file")]
    )
    report.stored = 3
    report.finish(time.perf_counter() - 2)
    assert (report.read, report.unchanged, report.remembered, report.skipped) == (10, 4, 2, 3)
    assert (report.seconds["read"], report.seconds["embed"]) == (1, 4), "thread time divided by the workers"
    assert list(report.reasons.items()) == [("empty file", 2), ("too large", 1)]
    assert 1.4 < report.images_per_second <= 1.5
    assert report.failures[1] == {"key": "b.jpg", "reason": "too large"}


def test_a_report_is_plain_json() -> None:
    report = IngestReport("c", ["edge:./index"], other_files=3)
    report.finish(time.perf_counter())
    values = json.loads(json.dumps(report.as_json()))
    assert (values["collection"], values["other_files"], values["example_key"]) == ("c", 3, "")
    assert set(values["peak_megabytes"]) == {"ingest", "build"}
