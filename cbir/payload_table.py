"""The payloads of a log by column: what answers a filter, a count or a facet where no engine does."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from cbir.filters import FieldKind, Filter, Match, Range, Value, kind_of, values_of
from cbir.records import Payload

Mask = npt.NDArray[np.bool_]
_MASKS = 64


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
        codes: dict[str, dict[tuple[bool, Value], int]] = {}
        cells: dict[str, tuple[list[int], list[int]]] = {}
        self.count = 0
        for position, payload in enumerate(payloads):
            self.count += 1
            for field in payload:
                known = codes.setdefault(field, {})
                positions, found = cells.setdefault(field, ([], []))
                for value in values_of(payload, field):
                    plain = isinstance(value, str | int | float)
                    code = known.setdefault((isinstance(value, bool), value), len(known)) if plain else -1
                    positions.append(position)
                    found.append(code)
        self.columns = {
            field: Column(
                [value for _, value in known],
                np.array(cells[field][0], np.int32),
                np.array(cells[field][1], np.int32),
            )
            for field, known in codes.items()
        }
        self.mask = lru_cache(_MASKS)(self._mask)
        """Returns which positions hold to a filter, bool (count,); the last ones are remembered."""

    def facet(self, field: str, where: Filter) -> list[tuple[Value, int]]:
        """Return how many points that hold to a filter have each value of a field, by count downwards, then by value.

        A point whose list has a value twice counts once.
        """
        column = self.columns.get(field)
        if column is None:
            return []
        counted = (self.mask(where)[column.positions]) & (column.codes >= 0)
        pairs = np.unique(np.stack([column.codes[counted], column.positions[counted]]), axis=1)
        return in_order((column.values[code], count) for code, count in Counter(pairs[0].tolist()).items())

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


def in_order(counts: Iterable[tuple[Value, int]]) -> list[tuple[Value, int]]:
    """Return facet counts in their order: by count downwards, then by value as text."""
    return sorted(counts, key=lambda one: (-one[1], str(one[0])))
