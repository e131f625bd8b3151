"""Tables of typed objects: a row for each object, and the path of its attribute for each column."""

from collections.abc import Iterable, Mapping
from typing import Any

from cbir.tables import Cell, Column, Table

from .timing import Spread

Shown = tuple[Column, str]
"""A column and the path of what it shows, such as "search_ms.p95"."""


def table_of(title: str, name: str, items: Iterable[tuple[str, object]], *shown: Shown) -> Table:
    """Return a table of named objects. A path that meets None leaves the cell empty; a `Spread` becomes a `Range`."""
    rows = [[label, *(_cell(item, path) for _, path in shown)] for label, item in items]
    return Table(title, [Column(name), *(column for column, _ in shown)], rows)


def recall_columns(k: int, path: str = "ann_recall_at_k") -> list[Shown]:
    """Return the columns of a summary of recalls: mean, p5 and the lowest."""
    others = [(Column(header, format=".4f"), f"{path}.{name}") for header, name in (("p5", "p5"), ("min", "worst"))]
    return [(Column(f"recall@{k}", format=".4f", better="higher"), f"{path}.mean"), *others]


def time_columns(path: str, *names: str) -> list[Shown]:
    """Return the columns of `Times` in milliseconds."""
    return [(Column(name.replace("p999", "p99.9"), "ms", ".3g"), f"{path}.{name}") for name in names]


def _cell(value: Any, path: str) -> Cell:
    for name in path.split("."):
        if value is not None:
            value = value.get(name) if isinstance(value, Mapping) else getattr(value, name)
    return value.as_range() if isinstance(value, Spread) else value
