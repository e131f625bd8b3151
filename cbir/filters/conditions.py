"""Filters: conditions on the payload, with one meaning for every store. All conditions of a filter have to be met."""

import dataclasses
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cbir.errors import UsageError
from cbir.records import IDENTITY, to_plain

Value = str | int | float | bool | None

BOUNDS: Mapping[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
"""The comparison of a value with each bound of a range."""


class FieldKind(StrEnum):
    """The type of a payload field's values; "text" if there are several types."""

    TEXT = "text"
    NUMBER = "number"
    TRUTH = "truth"


@dataclass(frozen=True, slots=True)
class Match:
    """A field of the payload has one of some values or, if `negated`, none of them.

    Numbers are equal regardless of their type. A number, a text and a truth value are never equal. None stands for a
    missing value: no such field, null or an empty list. A list has the values of its elements.
    """

    field: str
    values: tuple[Value, ...]
    negated: bool = False
    truths: tuple[bool, ...] = dataclasses.field(init=False, repr=False)
    """Which values are truth values: they differ from numbers, but 1 and True are equal in Python."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "truths", tuple(isinstance(value, bool) for value in self.values))
        for value in self.values:
            if to_plain(value) != value:
                raise UsageError(
                    f"the filter on {self.field!r} has a value that no image can have: numbers are finite, and integers"
                    " have at most 64 bits"
                )

    def accepts(self, value: Value) -> bool:
        """Return True if `value` is one of the values, whether `negated` or not."""
        return any(equal_values(value, wanted) for wanted in self.values)


@dataclass(frozen=True, slots=True)
class Range:
    """A field is a number within bounds, or a list with such a number. None is no bound."""

    field: str
    gt: float | None = None
    gte: float | None = None
    lt: float | None = None
    lte: float | None = None

    def __post_init__(self) -> None:
        for bound in (self.gt, self.gte, self.lt, self.lte):
            if bound is not None and not is_finite(bound):
                raise UsageError(f"the bounds of {self.field!r} in the filter must be finite numbers")

    @property
    def bounds(self) -> dict[str, float]:
        """The bounds by name, at most one lower and one upper bound: Qdrant's indexes ignore a second one."""
        bounds = {name: bound for name in BOUNDS if (bound := getattr(self, name)) is not None}
        for strict, other, tighter in (("gt", "gte", max), ("lt", "lte", min)):
            if strict in bounds and other in bounds:
                del bounds[other if tighter(bounds[strict], bounds[other]) == bounds[strict] else strict]
        return bounds

    def accepts(self, value: Value) -> bool:
        """Return True if `value` is a number within the bounds."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return all(BOUNDS[name](value, bound) for name, bound in self.bounds.items())


Filter = tuple[Match | Range, ...]


def is_finite(number: float) -> bool:
    """Return True for a number that a float can hold, other than NaN and infinity."""
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer of more than 1,024 bits
        return False


def values_of(payload: Mapping[str, Any], field: str) -> list[Any]:
    """Return the values of a payload's field: none if it is missing, several if it is a list."""
    found = payload.get(field)
    if found is None:
        return []
    return list(found) if isinstance(found, list) else [found]


def kind_of(value: Value) -> FieldKind:
    """Return the kind of a field with this value."""
    if isinstance(value, bool):
        return FieldKind.TRUTH
    return FieldKind.NUMBER if isinstance(value, int | float) else FieldKind.TEXT


def filterable_fields(kinds: Mapping[str, FieldKind]) -> dict[str, FieldKind]:
    """Return the fields to offer as filters, `label` first, then by name; those that identify an image are left out."""
    names = [name for name in kinds if name not in IDENTITY and '"' not in name]
    return {name: kinds[name] for name in sorted(names, key=lambda name: (name != "label", name))}


def matches(payload: Mapping[str, Any], filter: Filter) -> bool:
    """Return True if a payload meets all conditions of a filter."""
    return all(_is_met(values_of(payload, condition.field), condition) for condition in filter)


def _is_met(values: list[Any], condition: Match | Range) -> bool:
    accepted = any(condition.accepts(value) for value in (values or [None]))
    return accepted is not (isinstance(condition, Match) and condition.negated)


def equal_values(value: Value, wanted: Value) -> bool:
    """Return True if two values are equal; a truth value equals no number."""
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    return value == wanted
