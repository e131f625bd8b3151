"""Filters: conditions on the payload that every store understands alike, all of which have to hold."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cbir.records import IDENTITY

Value = str | int | float | bool | None

BOUNDS: Mapping[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
"""The comparison that each bound of a range asks of a value."""


class FieldKind(StrEnum):
    """What a payload field holds: one of these alone, or several and then "text"."""

    TEXT = "text"
    NUMBER = "number"
    TRUTH = "truth"


@dataclass(frozen=True, slots=True)
class Match:
    """A field has one of some values or, if `negated`, none of them.

    Numbers are equal whatever their type; a number, a text and a truth value never are. None is a missing value: there
    is no such field, or it is null or an empty list. A list has the values of its elements.

    Attributes:
        field: A top-level field of the payload.
        values: What it may be.
        negated: What it must not be.
    """

    field: str
    values: tuple[Value, ...]
    negated: bool = False

    def accepts(self, value: Value) -> bool:
        """Return True if a field with this one value holds to the condition, but for `negated`."""
        return any(equal_values(value, wanted) for wanted in self.values)


@dataclass(frozen=True, slots=True)
class Range:
    """A field is a number within bounds, or a list with such a number; None is no bound."""

    field: str
    gt: float | None = None
    gte: float | None = None
    lt: float | None = None
    lte: float | None = None

    @property
    def bounds(self) -> dict[str, float]:
        """The bounds there are, by name: one below and one above, since Qdrant's indexes heed only one of two."""
        bounds = {name: bound for name in BOUNDS if (bound := getattr(self, name)) is not None}
        for strict, other, tighter in (("gt", "gte", max), ("lt", "lte", min)):
            if strict in bounds and other in bounds:
                del bounds[other if tighter(bounds[strict], bounds[other]) == bounds[strict] else strict]
        return bounds

    def accepts(self, value: Value) -> bool:
        """Return True if a field with this one value holds to the condition."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return all(BOUNDS[name](value, bound) for name, bound in self.bounds.items())


Filter = tuple[Match | Range, ...]


def values_of(payload: Mapping[str, Any], field: str) -> list[Any]:
    """Return the values that a payload has in a field: none if it is missing, several if it is a list."""
    found = payload.get(field)
    if found is None:
        return []
    return list(found) if isinstance(found, list) else [found]


def kind_of(value: Value) -> FieldKind:
    """Return what a field with this value holds."""
    if isinstance(value, bool):
        return FieldKind.TRUTH
    return FieldKind.NUMBER if isinstance(value, int | float) else FieldKind.TEXT


def filterable_fields(kinds: Mapping[str, FieldKind]) -> dict[str, FieldKind]:
    """Return the fields that a visitor may filter by, `label` first, then by name: no identities, no odd names."""
    names = [name for name in kinds if name not in IDENTITY and '"' not in name]
    return {name: kinds[name] for name in sorted(names, key=lambda name: (name != "label", name))}


def matches(payload: Mapping[str, Any], where: Filter) -> bool:
    """Return True if a payload holds to all conditions."""
    return all(_holds(values_of(payload, condition.field), condition) for condition in where)


def _holds(values: list[Any], condition: Match | Range) -> bool:
    found = any(condition.accepts(value) for value in (values or [None]))
    return found is not (isinstance(condition, Match) and condition.negated)


def equal_values(value: Value, wanted: Value) -> bool:
    """Return True if two values are equal; a truth value equals no number."""
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    return value == wanted
