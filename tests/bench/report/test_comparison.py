"""What changed from one report to another by more than chance."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cbir.bench.report.comparison import as_table, compare, measurements, summary
from hypothesis import given
from hypothesis import strategies as st

from cbir.evaluation.result_files import Report
from cbir.evaluation.sections import Section
from cbir.tables import Better, Cell, Column, Range, Table
from tests.support.running import Program

NOW = datetime.now(UTC)


def report(rows: list[tuple[str, Cell]], better: Better | None = "lower") -> list[Report]:
    """Return a report with one table of two columns."""
    table = Table("Speed", [Column("store"), Column("search", "ms", ".2f", better)], rows)
    return [Report("latency", NOW, "1", "cbir-bench latency", {}, {}, Section("t", "s", (), [table]))]


spans = st.tuples(*[st.floats(0, 100) for _ in range(3)]).map(sorted)


@given(spans, spans, st.sampled_from(["higher", "lower"]))
def test_a_change_counts_only_where_the_ranges_do_not_overlap(
    first: list[float], second: list[float], better: Better
) -> None:
    before, after = (report([("edge", Range(middle, low, high))], better) for low, middle, high in (first, second))
    (change,) = compare(before, after).changes
    without = first[0] == first[2] or second[0] == second[2]
    apart = not without and (first[2] < second[0] or second[2] < first[0])
    assert (change.verdict in ("better", "worse")) == apart
    (back,) = compare(after, before).changes
    opposite = {"better": "worse", "worse": "better"}
    assert back.verdict == opposite.get(change.verdict, change.verdict)
    if apart:
        assert (change.verdict == "better") == ((second[1] > first[1]) == (better == "higher"))


def test_numbers_that_only_one_report_has_are_named() -> None:
    found = compare(report([("a", 1.0), ("b", 1.0)]), report([("b", 1.0), ("c", 1.0)]))
    assert found.only_before == ["latency / Speed / a / search (ms)"]
    assert found.only_after == ["latency / Speed / c / search (ms)"]


def test_only_columns_with_a_direction_are_compared() -> None:
    assert measurements(report([("a", 1.0)], better=None)) == measurements(report([("a", None)])) == {}
    ((name, (column, found)),) = measurements(report([("a", Range(1.0, 0.5, 2.0))])).items()
    assert (name, column.header, found) == ("latency / Speed / a / search (ms)", "search", Range(1.0, 0.5, 2.0))


def about(value: float) -> Range:
    return Range(value, value - 0.1, value + 0.1)


def test_the_verdict_and_the_table_say_what_changed() -> None:
    before = report([("a", about(1.0)), ("b", about(1.0)), ("c", about(1.0))])
    found = compare(before, report([("a", about(2.0)), ("b", about(0.5)), ("c", about(1.0))]))
    assert summary(found) == "1 worse and 1 better, of 3 numbers."
    assert [row[1:] for row in as_table(found, every=False).rows] == [
        ["1.00 (0.90 to 1.10) ms", "2.00 (1.90 to 2.10) ms", 1.0, "worse"],
        ["1.00 (0.90 to 1.10) ms", "0.50 (0.40 to 0.60) ms", -0.5, "better"],
    ]
    assert len(as_table(found, every=True).rows) == 3
    same = compare(report([("a", 1.0), ("b", 2.0)]), report([("a", 1.0), ("b", 2.0)]))
    assert summary(same) == "Nothing changed beyond noise, of 2 numbers."


@pytest.mark.parametrize("single", [2.0, Range(2.0, 2.0, 2.0)])
def test_a_number_without_a_range_is_neither_better_nor_worse(single: Cell) -> None:
    """Nothing says how much of the difference is chance."""
    found = compare(report([("a", single), ("b", about(1.0))]), report([("a", 1.0), ("b", about(2.0))]))
    assert summary(found) == "1 worse and 0 better, of 2 numbers. 1 without a range differ."
    assert [row[-1] for row in as_table(found, every=False).rows] == ["worse", "differs"]


def test_columns_that_differ_in_their_unit_and_results_of_one_kind_are_told_apart() -> None:
    columns = [Column("source"), Column("build", "s", better="lower"), Column("build", "core-s", better="lower")]
    made = Report("growth", NOW, "1", "", {}, {}, Section("t", "s", (), [Table("", columns, [["a", 1, 2]])]))
    found = {name: cell.value for name, (_, cell) in measurements([made, made]).items()}
    assert found == {
        "growth / a / build (s)": 1, "growth / a / build (core-s)": 2,
        "growth 2 / a / build (s)": 1, "growth 2 / a / build (core-s)": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "cannot be read: No such file or directory"),
        (lambda path: path.write_text("{"), "is not JSON"),
        (lambda path: path.write_text("[" * 100_000), "is not JSON"),
        (lambda path: path.write_text('{"figures": 1}'), "is not a report.json of `cbir-bench report`"),
        (lambda path: path.write_text('{"benchmark": "latency", "curves": [{}]}'), "Another version of cbir"),
    ],
)
def test_what_is_no_report_is_one_line(run: Program, tmp_path: Path, make: Callable[[Path], object], said: str) -> None:
    path = tmp_path / "given.json"
    make(path)
    code, _, err = run("compare", path, path)
    assert code in (1, 2) and said in err and len(err.strip().splitlines()) == 1
