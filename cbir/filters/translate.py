"""Filters as Qdrant's libraries write them, for a server and for Edge."""

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
