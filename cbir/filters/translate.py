"""Filters in the form of Qdrant's libraries, for a server and for Edge."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cbir.errors import UsageError
from cbir.filters.conditions import Filter, Range

_EXACT_INTEGERS = 2**53
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Dialect:
    """The differences between Qdrant's libraries, `qdrant_client.models` and `qdrant_edge`.

    The class for a range of numbers has another name in each, and `truth` converts a bool to the type that each
    accepts.
    """

    lib: Any
    range_type: Any
    truth: Callable[[bool], Any]


def qdrant_filter(filter: Filter, dialect: Dialect) -> Any:
    """Return the filter as an object of a Qdrant library, None without conditions."""
    lib = dialect.lib
    must: list[Any] = []
    must_not: list[Any] = []
    for condition in filter:
        key = field_path(condition.field)
        if isinstance(condition, Range):
            must.append(lib.FieldCondition(key=key, range=dialect.range_type(**condition.bounds)))
        else:
            texts = [value for value in condition.values if isinstance(value, str)]
            options = [_equal(key, value, dialect) for value in condition.values if not isinstance(value, str)]
            if texts or not options:  # without values: matches nothing
                options.append(lib.FieldCondition(key=key, match=lib.MatchAny(any=texts)))
            (must_not if condition.negated else must).append(lib.Filter(should=options))
    return lib.Filter(must=must, must_not=must_not) if filter else None


def filtered_ef(ef: int) -> int:
    """Return the ef for a filtered search with ACORN, where a step costs more and finds more than without a filter."""
    return math.ceil(ef / 3)


def field_path(field: str) -> str:
    """Return a field's name in Qdrant's syntax; raise `UsageError` if the name contains a quotation mark."""
    if '"' in field:
        raise UsageError(f"a filter cannot use the field {field!r}: its name contains a quotation mark")
    return field if _PLAIN_NAME.fullmatch(field) else f'"{field}"'


def _equal(key: str, value: float | bool | None, dialect: Dialect) -> Any:
    lib = dialect.lib
    if value is None:
        return lib.FieldCondition(key=key, is_empty=True)
    if isinstance(value, bool):
        return lib.FieldCondition(key=key, match=lib.MatchValue(value=dialect.truth(value)))
    if isinstance(value, int) and abs(value) > _EXACT_INTEGERS:
        return lib.FieldCondition(key=key, match=lib.MatchValue(value=value))
    return lib.FieldCondition(key=key, range=dialect.range_type(gte=value, lte=value))  # a match with 3 would miss 3.0
