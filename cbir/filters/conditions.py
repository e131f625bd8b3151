"""Filters: conditions on the payload that every store understands alike.

A filter is a tuple of conditions that all have to hold. As text: `label=Shoes|Sandals and year>=2015`.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cbir.errors import UsageError
from cbir.filters.parser import Condition, number, parse_where
from cbir.records import IDENTITY

Value = str | int | float | bool | None


class FieldKind(StrEnum):
    """What a payload field holds: one of these alone, or several and then "text"."""

    TEXT = "text"
    NUMBER = "number"
    TRUTH = "truth"


_BOUNDS: Mapping[str, Callable[[float, float], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
_SIGNS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
_EXACT_INTEGERS = 2**53
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]+")


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
        return any(_same(value, wanted) for wanted in self.values)


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
        bounds = {name: bound for name in _BOUNDS if (bound := getattr(self, name)) is not None}
        for strict, other, tighter in (("gt", "gte", max), ("lt", "lte", min)):
            if strict in bounds and other in bounds:
                del bounds[other if tighter(bounds[strict], bounds[other]) == bounds[strict] else strict]
        return bounds

    def accepts(self, value: Value) -> bool:
        """Return True if a field with this one value holds to the condition."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return all(_BOUNDS[name](value, bound) for name, bound in self.bounds.items())


Filter = tuple[Match | Range, ...]


def parse_filter(text: str) -> Filter:
    """Return the filter that a text means: conditions as for `--where`, with `|` between values to choose from.

    A value that reads as a number or as true or false means the text, too; no value means a missing one.

    Raises:
        UsageError: The text cannot be understood, or orders what is no number.
    """
    return tuple(_condition(one) for one in parse_where(text))


def _condition(condition: Condition) -> Match | Range:
    if condition.operator in _SIGNS:
        bound = number(condition.value)
        if bound is None:
            raise UsageError(
                f"the filter's {condition.column}{condition.operator}{condition.value} wants a number: < and > compare"
                " numbers"
            )
        return Range(condition.column, **{_SIGNS[condition.operator]: float(bound)})
    values = [value for part in condition.value.split("|") for value in meanings(part.strip())]
    return Match(condition.column, tuple(values), negated=condition.operator == "!=")


def meanings(text: str) -> list[Value]:
    """Return the values that a text may mean: itself, and a number or truth value that reads so."""
    found: list[Value] = [text] if text else ["", None]
    if (parsed := number(text)) is not None:
        found.append(parsed)
    if text.lower() in ("true", "false"):
        found.append(text.lower() == "true")
    return found


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


def offered(kinds: Mapping[str, FieldKind]) -> dict[str, FieldKind]:
    """Return the fields that a visitor may filter by, `label` first, then by name: no identities, no odd names."""
    names = [name for name in kinds if name not in IDENTITY and '"' not in name]
    return {name: kinds[name] for name in sorted(names, key=lambda name: (name != "label", name))}


def matches(payload: Mapping[str, Any], where: Filter) -> bool:
    """Return True if a payload holds to all conditions."""
    return all(_holds(values_of(payload, one.field), one) for one in where)


def _holds(values: list[Any], condition: Match | Range) -> bool:
    found = any(condition.accepts(value) for value in (values or [None]))
    return found is not (isinstance(condition, Match) and condition.negated)


def _same(value: Value, wanted: Value) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    return value == wanted


@dataclass(frozen=True)
class Dialect:
    """How one of Qdrant's libraries writes a filter.

    Attributes:
        lib: Where its classes are: `qdrant_client.models` or `qdrant_edge`, which name all but one alike.
        range_type: The class for a range of numbers.
        truth: Turns a truth value into what the library takes for one.
    """

    lib: Any
    range_type: Any
    truth: Callable[[bool], Any]


def qdrant_filter(where: Filter, dialect: Dialect) -> Any:
    """Return the filter as Qdrant has it, None for one without conditions.

    Raises:
        UsageError: A field's name cannot be written.
    """
    lib = dialect.lib
    must: list[Any] = []
    must_not: list[Any] = []
    for one in where:
        key = field_path(one.field)
        if isinstance(one, Range):
            must.append(lib.FieldCondition(key=key, range=dialect.range_type(**one.bounds)))
        else:
            texts = [value for value in one.values if isinstance(value, str)]
            options = [lib.FieldCondition(key=key, match=lib.MatchAny(any=texts))]  # of no texts: met by nothing
            options += [_equal(key, value, dialect) for value in one.values if not isinstance(value, str)]
            (must_not if one.negated else must).append(lib.Filter(should=options))
    return lib.Filter(must=must, must_not=must_not) if where else None


def filtered_ef(ef: int) -> int:
    """Return the ef of Qdrant's filtered walk with ACORN, of which a step costs about two of the unfiltered one."""
    return math.ceil(ef / 2)


def field_path(field: str) -> str:
    """Return a field's name as Qdrant writes it.

    Raises:
        UsageError: It has a quotation mark in it.
    """
    if '"' in field:
        raise UsageError(f"no filter can ask for the field {field!r}: its name has a quotation mark in it")
    return field if _PLAIN_NAME.fullmatch(field) else f'"{field}"'


def _equal(key: str, value: float | bool | None, dialect: Dialect) -> Any:
    lib = dialect.lib
    if value is None:
        return lib.FieldCondition(key=key, is_empty=True)
    if isinstance(value, bool):
        return lib.FieldCondition(key=key, match=lib.MatchValue(value=dialect.truth(value)))
    if isinstance(value, int) and abs(value) > _EXACT_INTEGERS:
        return lib.FieldCondition(key=key, match=lib.MatchValue(value=value))
    return lib.FieldCondition(key=key, range=dialect.range_type(gte=value, lte=value))  # a match would miss 3.0 for 3
