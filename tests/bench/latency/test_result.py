"""How the latency of stores is shown."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cbir.bench.core.metrics import Summary
from cbir.bench.core.subject import store_envelope
from cbir.bench.core.timing import Noise, Times, times
from cbir.bench.core.workload import open_workload
from cbir.bench.latency.loops import ClosedLoop, Rate
from cbir.bench.latency.measure import Curve, Filtered, Point
from cbir.bench.latency.opening import Opening, Size
from cbir.bench.latency.result import SUBJECT, LatencyResult, present
from cbir.bench.latency.search_during_ingest import IngestRun, Phase, SearchedStore
from cbir.bench.latency.stages import Stages

from cbir.evaluation.sections import Curves
from cbir.settings import Settings
from cbir.tables import Range, to_markdown
from tests.support.building import both
from tests.support.sections import cells

SPREAD = Range(10.0, 8.0, 12.0)


def point(ef: int | None, recall: float, milliseconds: float) -> Point:
    spent = times([milliseconds] * 3)
    summary = Summary(recall, recall, recall)
    return Point(
        ef=ef,
        on_front=recall > 0.99,
        ann_recall_at_k=summary,
        medians_ms=Range(milliseconds, milliseconds - 0.1, milliseconds + 0.1),
        search_ms=spent,
        raw_ms=spent,
        ratio=1.0,
        loads=[ClosedLoop(8, Range(1234.0, 1200.0, 1300.0), spent)],
        filtered=[Filtered("kind=rare", 0.025, summary, spent, 1.5)],
        rounds_ms=[milliseconds, milliseconds - 0.1, milliseconds + 0.1] * 2,
    )


@pytest.fixture
def result(made: Path) -> LatencyResult:
    """A result that has everything."""
    with open_workload(both(made), "made", 5, 8, 1, Settings()) as workload:
        header: dict[str, Any] = store_envelope(SUBJECT.name, workload, [])
    edge, faiss = both(made)
    spent: Times = times([2.0] * 2000)
    phases = [Phase("before", 10.0, 2000, spent, 1.0), Phase("during the ingest", 4.0, 9, spent, 1.62)]
    return LatencyResult(
        **header,
        field="kind",
        threads=[8],
        rounds=3,
        curves=[
            Curve(
                store=edge,
                parameter="ef",
                default=128,
                points=[point(16, 0.98, 0.5), point(128, 1.0, 0.81)],
                failures=["ef 256: it broke", "50% of its best: it stalled"],
                rates=[Rate(0.25, 25.0, 24.0, spent, spent, 0.5)],
                opening=Opening(True, SPREAD, SPREAD, SPREAD, SPREAD),
                size=Size(30.0, 29.0, 1.2, 2.0, 25.0),
                stages=Stages(
                    60, {"decode": 1.0, "preprocess": 2.0, "model": 5.0, "engine": 1.5, "protocol": 0.5}, 0.8
                ),
            ),
            Curve(faiss, "ef", 128, [point(16, 0.995, 0.3), point(128, 1.0, 0.9)], []),
        ],
        noise=Noise(SPREAD, 0.0),
        ingest=IngestRun(3, [SearchedStore(edge, ["a"] * 4, phases, 34.0)]),
    )


def test_a_saved_result_is_loaded_again(result: LatencyResult) -> None:
    assert SUBJECT.load(SUBJECT.dump(result)) == result


def test_the_verdict_compares_the_stores_at_the_same_recall(result: LatencyResult) -> None:
    assert present(result).verdicts == [
        "faiss answers 2.70 [2.27, 3.55] times as fast as edge at recall@5 >= 0.99.",
        "edge: during an ingest of 3 images the p95 is 1.62 times that before, with 4 errors.",
    ]
    edge, faiss = result.curves
    slow = replace(result, curves=[replace(edge, points=[point(16, 0.98999, 0.5)]), faiss], ingest=None)
    assert present(slow).verdicts == [
        "faiss takes 0.3 ms for a search at recall 0.99.",
        "edge does not reach recall 0.99: 0.9899 at most.",
    ]
    scan = replace(edge, parameter="", default=None, points=[point(None, 1.0, 2.0)])
    assert present(replace(slow, curves=[scan])).verdicts == ["edge takes 2 ms for a search at recall 0.99."]


def test_every_table(result: LatencyResult) -> None:
    section = present(result)
    names = ["edge, ef 16", "edge, ef 128", "faiss, ef 16", "faiss, ef 128"]
    assert cells(section, "Searches by one client", "store") == names
    assert cells(section, "Searches by one client", "recall@5") == [0.98, 1.0, 0.995, 1.0]
    assert cells(section, "Searches by one client", "median")[0] == Range(0.5, 0.4, 0.6)
    rates = cells(section, "Searches by several clients at once", "searches/s")
    assert rates == [Range(1234.0, 1200.0, 1300.0)] * 2, "at the default ef of each store"
    assert cells(section, "Searches by one client", "front") == ["", "*", "*", "*"]
    assert cells(section, "Filtered searches", "store") == [f"{name}, kind=rare" for name in names]
    assert cells(section, "Open loop", "answered/s") == [24.0]
    assert cells(section, "Cold start", "opening") == [Range(10.0, 8.0, 12.0)]
    assert cells(section, "A search from image file to hits", "model") == [5.0]
    assert cells(section, "A search from image file to hits", "transport") == [None]
    assert cells(section, "Size", "mapped memory") == [25.0]
    during = "During an ingest"
    assert cells(section, during, "store") == ["edge, before", "edge, during the ingest"]
    assert cells(section, during, "p95 / before") == [1.0, 1.62]
    for table in section.tables:
        assert max(map(len, to_markdown(table).splitlines())) < 140, table.title
        first = [str(row[0]) for row in table.rows]
        assert len(set(first)) == len(first), "a row's name identifies it"


def test_what_failed_and_what_was_not_measured_is_noted(result: LatencyResult) -> None:
    notes = present(result).notes
    assert "edge, ef 256: it broke" in notes
    assert "edge, 50% of its best: it stalled" in notes
    assert notes.count("a") == 3, "the first errors"
    assert any("used 34 ms after publishing" in note for note in notes)
    curves = [
        Curve(curve.store, curve.parameter, None, [replace(part, filtered=[]) for part in curve.points], [])
        for curve in result.curves
    ]
    bare = replace(result, curves=curves, ingest=None)
    section = present(bare)
    assert any("filters were not measured" in note for note in section.notes)
    assert [table.title for table in section.tables] == [
        "Searches by one client", "Searches by several clients at once",
    ]  # fmt: skip


def test_two_stores_of_one_name_are_told_apart(result: LatencyResult) -> None:
    first, second = "edge:/a/index", "edge:/b/index"
    stores = [replace(info, url=url) for info, url in zip(result.stores, (first, second), strict=True)]
    curves = [replace(curve, store=url) for curve, url in zip(result.curves, (first, second), strict=True)]
    section = present(replace(result, stores=stores, curves=curves, ingest=None))
    assert section.verdicts == ["edge 2 answers 2.70 [2.27, 3.55] times as fast as edge 1 at recall@5 >= 0.99."]
    (plot,) = (part for part in section.parts if isinstance(part, Curves))
    assert list(plot.series) == ["edge 1 (ef)", "edge 2 (ef)"]
    for table in section.tables:
        rows = [row[0] for row in table.rows]
        assert len(set(rows)) == len(rows), table.title


def test_the_plot_has_a_curve_for_each_store(result: LatencyResult) -> None:
    (plot,) = (part for part in present(result).parts if isinstance(part, Curves))
    assert list(plot.series) == ["edge (ef)", "faiss (ef)"]
    assert [place.x for place in plot.series["edge (ef)"]] == [0.98, 1.0]
    assert plot.series["faiss (ef)"][0].y == pytest.approx(1000 / 0.3)
