"""Text such as `year>=2015 and kind=Flip Flops` as conditions: on a source's rows, or on payloads as a filter.

A row is often text alone, so `<` and `>` compare texts as well, and a text that is a number as one. A filter is the
same for every store: it compares numbers, and `|` stands between values to choose from.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cbir.errors import UsageError
from cbir.filters.conditions import BOUNDS, Filter, Match, Range, Value, equal_values
from cbir.records import to_plain

_SIGNS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
"""The bound of a range that each sign sets."""

_NAME = r"""("[^"]*"|'[^']*'|[^"'=!<>]+?)"""
_VALUE = r"""("[^"]*"|'[^']*'|[^"'=!<>]*?)"""
_CONDITION = re.compile(rf"\s*{_NAME}\s*(!=|<=|>=|==?|<|>)\s*{_VALUE}\s*(\sand(?:\s+|$)|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison of a column with a value.

    Attributes:
        column: The column's name.
        operator: One of = != < <= > >=.
        value: What it is compared with, as the user wrote it.
    """

    column: str
    operator: str
    value: str

    def holds(self, row: Mapping[str, Any]) -> bool:
        """Return True if the row's value compares so.

        A missing value equals only the empty text, and is neither less nor more than anything. Numbers are compared
        as numbers, everything else as text; `<` and the like with a number take text that is a number for one.
        """
        found = to_plain(row.get(self.column))
        if isinstance(found, list | dict):
            found = str(found)
        if self.operator not in _SIGNS:
            equal = any(equal_values(found, wanted) for wanted in possible_values(self.value))
            return equal is (self.operator == "=")
        if found is None or found == "":
            return False
        compare, wanted = BOUNDS[_SIGNS[self.operator]], as_number(self.value)
        if wanted is None:
            return compare(str(found), self.value)
        parsed = as_number(found)
        return parsed is not None and compare(parsed, wanted)


def parse_conditions(text: str, what: str = "--where") -> tuple[Condition, ...]:
    """Return the conditions, all of which a row has to meet; messages call the text `what`.

    Raises:
        UsageError: The text cannot be understood.
    """
    conditions = []
    rest, joined = text, "and"
    while joined:
        match = _CONDITION.match(rest)
        if match is None:
            raise UsageError(
                f"{what} {text!r} cannot be understood at {rest!r}: give FIELD=VALUE (or != < <= > >=), several"
                " joined by ' and '; a name or value with such signs in it goes in quotes"
            )
        name, sign, value, joined = match.groups()
        conditions.append(Condition(_unquoted(name), "=" if sign == "==" else sign, _unquoted(value)))
        rest = rest[match.end() :]
    return tuple(conditions)


def _unquoted(text: str) -> str:
    return text[1:-1] if text[:1] in ("'", '"') else text


def parse_filter(text: str) -> Filter:
    """Return the filter that a text means: conditions as for `--where`, with `|` between values to choose from.

    A value that reads as a number or as true or false means the text, too; no value means a missing one.

    Raises:
        UsageError: The text cannot be understood, or orders what is no number.
    """
    return tuple(_condition(condition) for condition in parse_conditions(text, "the filter"))


def _condition(condition: Condition) -> Match | Range:
    if condition.operator in _SIGNS:
        bound = as_number(condition.value)
        if bound is None:
            raise UsageError(
                f"the filter's {condition.column}{condition.operator}{condition.value} wants a number: < and > compare"
                " numbers"
            )
        return Range(condition.column, **{_SIGNS[condition.operator]: float(bound)})
    values = [value for part in condition.value.split("|") for value in possible_values(part.strip())]
    return Match(condition.column, tuple(values), negated=condition.operator == "!=")


def possible_values(text: str) -> list[Value]:
    """Return the values that a text may mean: itself, and a number, truth value or missing value that reads so."""
    found: list[Value] = [text] if text else ["", None]
    if (parsed := as_number(text)) is not None:
        found.append(parsed)
    if text.lower() in ("true", "false"):
        found.append(text.lower() == "true")
    return found


def as_number(value: Any) -> int | float | None:
    """Return a number, or a text that is one, as a number; None if it is none."""
    if not isinstance(value, str):
        return None if isinstance(value, bool) or not isinstance(value, int | float) else value
    try:
        return int(value)
    except ValueError:
        pass
    try:
        parsed = float(value)
    except ValueError:
        return None
    return parsed if math.isfinite(parsed) else None
