"""Tables of typed objects: a row for each object, and the path of its attribute for each column."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_type_hints

from pydantic.fields import FieldInfo

from cbir.tables import Cell, Column, Table

Shown = tuple[Column, str]
"""A column and the path of what it shows, such as "search_ms.p95"."""
RECALL: Sequence[Shown] = (
    (Column("recall@{k}", format=".4f", better="higher", floor=True), "mean"),
    (Column("p5", format=".4f", floor=True), "p5"),
    (Column("min", format=".4f", floor=True), "worst"),
)
"""The columns of a summary of recalls."""


def typed_table(title: str, name: str, kind: type, items: Iterable[tuple[str, object]], k: int = 0) -> Table:
    """Return a table of named objects of a dataclass whose fields are annotated with columns.

    A field's annotation is one `Column`, or a sequence of `Shown` for its parts; `{k}` in a header is filled in. A path
    that meets None leaves the cell empty, and what is true is marked by a star.
    """
    columns: list[Shown] = []
    for part, hint in get_type_hints(kind, include_extras=True).items():
        for shown in getattr(hint, "__metadata__", ()):
            parts = [(shown, "")] if isinstance(shown, Column) else shown
            if isinstance(parts, FieldInfo):  # how a field is loaded
                continue
            columns += [(column, f"{part}.{path}".rstrip(".")) for column, path in parts]
    rows = [[label, *(_cell(item, path) for _, path in columns)] for label, item in items]
    heads = [replace(column, header=column.header.format(k=k)) for column, _ in columns]
    return Table(title, [Column(name), *heads], rows)


def time_columns(*names: str) -> list[Shown]:
    """Return the columns of `Times` in milliseconds."""
    return [(Column(name.replace("p999", "p99.9"), "ms", ".3g"), name) for name in names]


def _cell(value: Any, path: str) -> Cell:
    for name in path.split("."):
        if value is not None:
            value = value.get(name) if isinstance(value, Mapping) else getattr(value, name)
    if isinstance(value, bool):
        return "*" if value else ""
    cell: Cell = value
    return cell
