"""The payloads of a log by column. They answer filters, counts and facets where no engine does."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import count, repeat
from typing import Any

import numpy as np
import numpy.typing as npt

from cbir.filters.conditions import FieldKind, Filter, Match, Range, Value, kind_of
from cbir.records import Payload

Mask = npt.NDArray[np.bool_]
_MASKS = 64
_PLAIN = {str, int, float}


@dataclass(frozen=True)
class Column:
    """A field's distinct values, and the code (index of the value) at each position; a list has several codes.

    Equal numbers of different types are one value. Anything but text, numbers and truth values has the code -1.
    """

    values: list[Value]
    positions: npt.NDArray[np.int32]
    codes: npt.NDArray[np.int32]

    @cached_property
    def index(self) -> dict[object, int]:
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
                if (cell := cells.get(field)) is None:
                    cell = cells[field] = [], []
                if type(value) is list:
                    cell[0].extend([position] * len(value))
                    cell[1].extend(value)
                elif value is not None:
                    cell[0].append(position)
                    cell[1].append(value)
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
        found = {field: set(map(kind_of, self._examples(column))) for field, column in self.columns.items()}
        return {field: kinds.pop() if len(kinds) == 1 else FieldKind.TEXT for field, kinds in found.items() if kinds}

    def _examples(self, column: Column) -> Iterable[Value]:
        """Return a value of each type among those of the positions that count."""
        values = column.values
        if self._alive is not None:
            codes = np.unique(column.codes[self._alive[column.positions]])
            values = [values[code] for code in codes.tolist() if code >= 0]
        return {type(value): value for value in values}.values()

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
    is_plain = set(map(type, values)) <= _PLAIN
    keys: list[Any] = values if is_plain else list(map(_key, values))
    before: dict[Any, int] = base.index if base else {}
    fresh = [key for key in dict.fromkeys(keys) if key is not None and key not in before]
    index = {**before, **dict(zip(fresh, count(len(before))))}
    codes = np.fromiter(map(index.get, keys, repeat(-1)), np.int32, len(keys))
    distinct = [*(base.values if base else ()), *(fresh if is_plain else map(_value, fresh))]
    column = Column(distinct, np.array(positions, np.int32), codes)
    if base is None:
        return column
    parts = (base.positions, column.positions), (base.codes, column.codes)
    return Column(column.values, *map(np.concatenate, parts))


def _key(value: object) -> object:
    """Return a key of a plain value, None for any other. True and 1 would be the same key."""
    if isinstance(value, bool):
        return "truth", value
    return value if type(value) in _PLAIN else None


def _value(key: Any) -> Value:
    value: Value = key[1] if isinstance(key, tuple) else key
    return value


def sorted_counts(counts: Iterable[tuple[Value, int]]) -> list[tuple[Value, int]]:
    """Return facet counts in facet order: by descending count, then by value as text."""
    return sorted(counts, key=lambda item: (-item[1], str(item[0])))
