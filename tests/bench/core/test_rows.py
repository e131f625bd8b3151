"""Tables of typed objects."""

from dataclasses import dataclass
from typing import Annotated

from cbir.bench.core.metrics import Summary
from cbir.bench.core.rows import RECALL, time_columns, typed_table
from cbir.bench.core.timing import Times

from cbir.tables import Column, Range

SPENT = Times(1.0, 2.0, 3.0, None, 5)


@dataclass(frozen=True)
class Example:
    best: Annotated[bool, Column("best")]
    speed: Annotated[Range, Column("speed")]
    ann_recall_at_k: Annotated[Summary | None, RECALL]
    search_ms: Annotated[Times, time_columns("p95", "p999")]
    parts: Annotated[dict[str, float], [(Column("decode"), "decode")]]
    hidden: int = 7


FIRST = Example(True, Range(5.0, 4.0, 6.0), Summary(0.9, 0.8, 0.5), SPENT, {"decode": 0.1})
SECOND = Example(False, FIRST.speed, None, SPENT, {})


def test_a_row_shows_the_annotated_fields_of_an_object() -> None:
    table = typed_table("Examples", "name", Example, [("first", FIRST), ("second", SECOND)], 10)
    assert [column.header for column in table.columns] == [
        "name", "best", "speed", "recall@10", "p5", "min", "p95", "p99.9", "decode",
    ]  # fmt: skip
    assert table.rows == [
        ["first", "*", Range(5.0, 4.0, 6.0), 0.9, 0.8, 0.5, 2.0, None, 0.1],
        ["second", "", Range(5.0, 4.0, 6.0), None, None, None, 2.0, None, None],
    ]
