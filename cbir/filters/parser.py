"""Parses text such as `year>=2015 and kind=Shoes|Sandals`, as conditions on a source's rows or as a filter on payloads.

With `=` and `!=`, `|` separates alternative values. The values of rows are often text, so `<` and `>` compare texts
too, and text that is a number as a number. In a filter on payloads, which works the same in every store, they compare
numbers only.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cbir.errors import UsageError
from cbir.filters.conditions import BOUNDS, Filter, Match, Range, Value, equal_values, is_finite
from cbir.records import to_plain

_SIGNS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
"""The bound of a range for each sign."""

_NAME = r"""("[^"]*"|'[^']*'|[^"'=!<>]+?)"""
_VALUE = r"""("[^"]*"|'[^']*'|[^"'=!<>]*?)"""
_CONDITION = re.compile(rf"\s*{_NAME}\s*(!=|<=|>=|==?|<|>)\s*{_VALUE}\s*(\sand(?:\s+|$)|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison (= != < <= > >=) of a column with a value, given as the user wrote it."""

    column: str
    operator: str
    value: str

    def alternatives(self) -> list[Value]:
        """Return the values that `|` separates, each as all that it may stand for."""
        return [value for part in self.value.split("|") for value in possible_values(part.strip())]

    def holds(self, row: Mapping[str, Any]) -> bool:
        """Return True if a row meets the condition.

        A missing value equals only the empty text, and is neither less nor greater than anything. Numbers are compared
        as numbers, everything else as text; where the condition's value is a number, so is text that looks like one.
        """
        found = to_plain(row.get(self.column))
        if isinstance(found, list | dict):
            found = str(found)
        if self.operator not in _SIGNS:
            equal = any(equal_values(found, wanted) for wanted in self.alternatives())
            return equal is (self.operator == "=")
        if found is None or found == "":
            return False
        compare, wanted = BOUNDS[_SIGNS[self.operator]], as_number(self.value)
        if wanted is None:
            return compare(str(found), self.value)
        parsed = as_number(found)
        return parsed is not None and compare(parsed, wanted)


def parse_conditions(text: str) -> tuple[Condition, ...]:
    """Return the conditions in a text, all of which have to be met; raise `UsageError` if the text is malformed."""
    conditions = []
    rest, joined = text, "and"
    while joined:
        match = _CONDITION.match(rest)
        if match is None:
            raise UsageError(
                f"the filter {text!r} cannot be understood at {rest!r}. Use FIELD=VALUE (or != < <= > >=), and join"
                " conditions with ' and '. Names and values with such signs need quotes."
            )
        name, sign, value, joined = match.groups()
        conditions.append(Condition(_unquoted(name), "=" if sign == "==" else sign, _unquoted(value)))
        rest = rest[match.end() :]
    return tuple(conditions)


def _unquoted(text: str) -> str:
    return text[1:-1] if text[:1] in ("'", '"') else text


def parse_filter(text: str) -> Filter:
    """Return the filter in a text: conditions as in `parse_conditions`.

    A number, true or false matches the same text too; an empty value matches a missing one. `<` and `>` need a number.
    """
    return tuple(map(_to_match_or_range, parse_conditions(text)))


def _to_match_or_range(condition: Condition) -> Match | Range:
    if condition.operator in _SIGNS:
        bound = as_number(condition.value)
        if bound is None:
            raise UsageError(
                f"{condition.column}{condition.operator}{condition.value} in the filter needs a number: < and > compare"
                " numbers only"
            )
        return Range(condition.column, **{_SIGNS[condition.operator]: float(bound)})
    return Match(condition.column, tuple(condition.alternatives()), negated=condition.operator == "!=")


def possible_values(text: str) -> list[Value]:
    """Return the values that a text may stand for: itself, and the number, truth value or missing value it spells."""
    found: list[Value] = [to_plain(text)] if text else ["", None]
    if (parsed := as_number(text)) is not None and to_plain(parsed) == parsed:  # larger integers are stored as text
        found.append(parsed)
    if text.lower() in ("true", "false"):
        found.append(text.lower() == "true")
    return found


def as_number(value: Any) -> int | float | None:
    """Return a number, or a text that spells one, as a number; None for anything else."""
    if not isinstance(value, str):
        return None if isinstance(value, bool) or not isinstance(value, int | float) else value
    for kind in (int, float):
        with suppress(ValueError):
            parsed = kind(value)
            return parsed if is_finite(parsed) else None
    return None
