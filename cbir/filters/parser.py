"""`--where`: conditions on the columns of a row, such as `year>=2015 and subCategory=Flip Flops`."""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cbir.errors import UsageError
from cbir.records import plain

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
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
        found = plain(row.get(self.column))
        missing = found is None or found == ""
        wanted = number(self.value)
        if self.operator in _ORDER:
            compare = _ORDER[self.operator]
            if missing:
                return False
            if wanted is None:
                return compare(str(found), self.value)
            parsed = number(found)
            return parsed is not None and compare(parsed, wanted)
        if missing:
            equal = self.value == ""
        elif isinstance(found, bool):
            equal = str(found).lower() == self.value.lower()
        elif isinstance(found, int | float):
            equal = found == wanted
        else:
            equal = str(found) == self.value
        return equal is (self.operator == "=")


def parse_where(text: str) -> tuple[Condition, ...]:
    """Return the conditions, all of which a row has to meet.

    Raises:
        UsageError: The text cannot be understood.
    """
    conditions = []
    rest, joined = text, "and"
    while joined:
        match = _CONDITION.match(rest)
        if match is None:
            raise UsageError(
                f"--where {text!r} cannot be understood at {rest!r}: give COLUMN=VALUE (or != < <= > >=), several"
                " joined by ' and '; a name or value with such signs in it goes in quotes"
            )
        name, sign, value, joined = match.groups()
        conditions.append(Condition(_unquoted(name), "=" if sign == "==" else sign, _unquoted(value)))
        rest = rest[match.end() :]
    return tuple(conditions)


def _unquoted(text: str) -> str:
    return text[1:-1] if text[:1] in ("'", '"') else text


def number(value: Any) -> int | float | None:
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
