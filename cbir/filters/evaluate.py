"""The payloads of a log by column: what answers a filter, a count or a facet where no engine does."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
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
    """One field: its different values, and which of them (`codes`) stand at which positions; a list has several.

    Equal numbers of different types are one value. What is no plain value, an object say, has the code -1.
    """

    values: list[Value]
    positions: npt.NDArray[np.int32]
    codes: npt.NDArray[np.int32]


class PayloadTable:
    """The payload fields of a log's points, by position. Safe to share between threads."""

    def __init__(self, payloads: Iterable[Payload]):
        cells: dict[str, tuple[list[int], list[Any]]] = {}
        self.count = 0
        for position, payload in enumerate(payloads):
            self.count += 1
            for field, value in payload.items():
                positions, values = cells.setdefault(field, ([], []))
                if isinstance(value, list):
                    positions += [position] * len(value)
                    values += value
                elif value is not None:
                    positions.append(position)
                    values.append(value)
        self.columns = {field: _column(*cells[field]) for field in cells}
        self.mask = lru_cache(_MASKS)(self._mask)
        """Returns which positions hold to a filter, bool (count,); the last ones are remembered."""

    def facet(self, field: str, where: Filter) -> list[tuple[Value, int]]:
        """Return how many points that hold to a filter have each value of a field, by count downwards, then by value.

        A point whose list has a value twice counts once.
        """
        column = self.columns.get(field)
        if column is None:
            return []
        counted = self.mask(where)[column.positions] & (column.codes >= 0)
        once = np.unique(column.codes[counted] * np.int64(self.count) + column.positions[counted]) // self.count
        codes, counts = np.unique(once, return_counts=True)
        return sorted_counts(zip((column.values[code] for code in codes.tolist()), counts.tolist(), strict=True))

    def kinds(self) -> dict[str, FieldKind]:
        """Return what each field holds that has a plain value, "text" where values are of several kinds."""
        found = {field: set(map(kind_of, column.values)) for field, column in self.columns.items()}
        return {field: kinds.pop() if len(kinds) == 1 else FieldKind.TEXT for field, kinds in found.items() if kinds}

    def _mask(self, where: Filter) -> Mask:
        mask = np.ones(self.count, bool)
        for one in where:
            mask &= self._holds(one)
        mask.flags.writeable = False
        return mask

    def _holds(self, condition: Match | Range) -> Mask:
        holds = np.zeros(self.count, bool)
        column = self.columns.get(condition.field)
        if column is not None:
            accepted = [condition.accepts(value) for value in column.values]
            wanted = np.array([*accepted, False])  # the last for the code -1
            holds[column.positions[wanted[column.codes]]] = True
        if isinstance(condition, Match):
            if None in condition.values:
                missing = np.ones(self.count, bool)
                if column is not None:
                    missing[column.positions] = False
                holds |= missing
            if condition.negated:
                holds = ~holds
        return holds


def _column(positions: list[int], values: list[Any]) -> Column:
    known: dict[Any, int] = {}
    if {type(value) for value in values} <= {str, int, float}:
        codes = [known.setdefault(value, len(known)) for value in values]
        distinct = list(known)
    else:  # True and 1 are one to a dictionary
        codes = [
            known.setdefault((isinstance(value, bool), value), len(known)) if isinstance(value, _PLAIN) else -1
            for value in values
        ]
        distinct = [value for _, value in known]
    return Column(distinct, np.array(positions, np.int32), np.array(codes, np.int32))


def sorted_counts(counts: Iterable[tuple[Value, int]]) -> list[tuple[Value, int]]:
    """Return facet counts in their order: by count downwards, then by value as text."""
    return sorted(counts, key=lambda one: (-one[1], str(one[0])))
