"""Tables of typed objects."""

from dataclasses import dataclass

from cbir.bench.core.metrics import Summary
from cbir.bench.core.rows import recall_columns, table_of, time_columns
from cbir.bench.core.timing import Spread, Times

from cbir.tables import Column, Range


@dataclass(frozen=True)
class Example:
    speed: Spread
    recall: Summary | None
    search_ms: Times
    parts: dict[str, float]


def test_a_row_shows_the_attributes_of_an_object() -> None:
    spent = Times(1.0, 0.9, 1.1, 2.0, 3.0, None, 5)
    example = Example(Spread(5.0, 4.0, 6.0), Summary(0.9, 0.8, 0.5, None, 0), spent, {"decode": 0.1})
    table = table_of(
        "Examples",
        "name",
        [("first", example), ("second", Example(example.speed, None, spent, {}))],
        (Column("speed"), "speed"),
        *recall_columns(10, "recall"),
        *time_columns("search_ms", "p95", "p999"),
        (Column("decode"), "parts.decode"),
    )
    assert [column.header for column in table.columns] == [
        "name", "speed", "recall@10", "p5", "min", "p95", "p99.9", "decode",
    ]  # fmt: skip
    assert table.rows == [
        ["first", Range(5.0, 4.0, 6.0), 0.9, 0.8, 0.5, 2.0, None, 0.1],
        ["second", Range(5.0, 4.0, 6.0), None, None, None, 2.0, None, None],
    ]
