"""The payloads of a log by column. They answer filters, counts and facets where no engine does."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from cbir.filters.conditions import FieldKind, Filter, Match, Range, Value, kind_of
from cbir.records import Payload

Mask = npt.NDArray[np.bool_]
_MASKS = 64
_PLAIN = (str, int, float)


@dataclass(frozen=True)
class Column:
    """A field's distinct values, and the code (index of the value) at each position; a list has several codes.

    Equal numbers of different types are one value. Anything but text, numbers and truth values has the code -1.
    """

    values: list[Value]
    positions: npt.NDArray[np.int32]
    codes: npt.NDArray[np.int32]

    @cached_property
    def index(self) -> dict[tuple[bool, Value], int]:
        """The code of each value."""
        return {_key(value): code for code, value in enumerate(self.values)}


class PayloadTable:
    """The payload fields of a log's points, by position. Safe to share between threads.

    `alive` says which positions count, None for all: the others meet no filter.
    """

    def __init__(self, payloads: Iterable[Payload], base: "PayloadTable | None" = None, alive: Mask | None = None):
        """Read the payloads. With a `base`, its positions come first."""
        cells: dict[str, tuple[list[int], list[Any]]] = {}
        self.count: int = base.count if base else 0
        self._alive = alive
        for position, payload in enumerate(payloads, self.count):
            self.count += 1
            for field, value in payload.items():
                positions, values = cells.setdefault(field, ([], []))
                if isinstance(value, list):
                    positions += [position] * len(value)
                    values += value
                elif value is not None:
                    positions.append(position)
                    values.append(value)
        self.columns: dict[str, Column] = dict(base.columns) if base else {}
        self.columns |= {field: _column(*cells[field], self.columns.get(field)) for field in cells}
        self.mask = lru_cache(_MASKS)(self._mask)
        """Returns which positions meet a filter, bool (count,). The latest masks are cached."""

    def facet(self, field: str, filter: Filter) -> list[tuple[Value, int]]:
        """Return each value of a field with the number of points that have it and meet a filter, in facet order."""
        column = self.columns.get(field)
        if column is None:
            return []
        counted = self.mask(filter)[column.positions] & (column.codes >= 0)
        pairs = np.unique(column.codes[counted] * np.int64(self.count) + column.positions[counted])
        codes, counts = np.unique(pairs // self.count, return_counts=True)
        return sorted_counts(zip((column.values[code] for code in codes.tolist()), counts.tolist(), strict=True))

    @cached_property
    def kinds(self) -> dict[str, FieldKind]:
        """The kind of each field with plain values; "text" if they are of several kinds."""
        found = {field: set(map(kind_of, self._values(column))) for field, column in self.columns.items()}
        return {field: kinds.pop() if len(kinds) == 1 else FieldKind.TEXT for field, kinds in found.items() if kinds}

    def _values(self, column: Column) -> Iterable[Value]:
        """Return the values of the positions that count."""
        if self._alive is None:
            return column.values
        codes = np.unique(column.codes[self._alive[column.positions]])
        return [column.values[code] for code in codes.tolist() if code >= 0]

    def _mask(self, filter: Filter) -> Mask:
        mask = np.ones(self.count, bool) if self._alive is None else self._alive.copy()
        for condition in filter:
            mask &= self._condition_mask(condition)
        mask.flags.writeable = False
        return mask

    def _condition_mask(self, condition: Match | Range) -> Mask:
        mask, missing = np.zeros(self.count, bool), np.ones(self.count, bool)
        column = self.columns.get(condition.field)
        if column is not None:
            accepted = [condition.accepts(value) for value in column.values]
            mask[column.positions[np.array([*accepted, False])[column.codes]]] = True  # False: for the code -1
            missing[column.positions] = False
        if isinstance(condition, Range):
            return mask
        if None in condition.values:
            mask |= missing
        return ~mask if condition.negated else mask


def _column(positions: list[int], values: list[Any], base: Column | None) -> Column:
    """Return the column of the values at these positions, after those of `base`."""
    index: dict[tuple[bool, Any], int] = dict(base.index) if base else {}
    codes = [index.setdefault(_key(value), len(index)) if isinstance(value, _PLAIN) else -1 for value in values]
    column = Column([value for _, value in index], np.array(positions, np.int32), np.array(codes, np.int32))
    if base is None:
        return column
    before = (base.positions, column.positions), (base.codes, column.codes)
    return Column(column.values, *map(np.concatenate, before))


def _key(value: Value) -> tuple[bool, Value]:
    return isinstance(value, bool), value  # True and 1 would be the same key


def sorted_counts(counts: Iterable[tuple[Value, int]]) -> list[tuple[Value, int]]:
    """Return facet counts in facet order: by descending count, then by value as text."""
    return sorted(counts, key=lambda item: (-item[1], str(item[0])))
