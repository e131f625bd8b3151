"""Filters as plain values, for JSON: `[{"field": "label", "values": ["Shoes"]}, {"field": "year", "gte": 2012}]`.

A filter as text cannot tell the number 1 from the text "1". This form can.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from cbir.errors import UsageError
from cbir.filters.conditions import BOUNDS, Filter, Match, Range

_MATCH = {"field", "values", "negated"}
_RANGE = {"field", *BOUNDS}


def plain_filter(filter: Filter) -> list[dict[str, Any]]:
    """Return the conditions of a filter as plain values."""
    return [_plain(condition) for condition in filter]


def filter_of(conditions: Sequence[Any]) -> Filter:
    """Return the filter of such values; raise `UsageError` if they are no conditions."""
    return tuple(map(_condition, conditions))


def _plain(condition: Match | Range) -> dict[str, Any]:
    if isinstance(condition, Match):
        negated = {"negated": True} if condition.negated else {}
        return {"field": condition.field, "values": list(condition.values), **negated}
    bounds = {name: getattr(condition, name) for name in BOUNDS}
    return {"field": condition.field, **{name: bound for name, bound in bounds.items() if bound is not None}}


def _condition(value: Any) -> Match | Range:
    if isinstance(value, Mapping) and isinstance(value.get("field"), str):
        field, values, negated = value["field"], value.get("values"), value.get("negated", False)
        if isinstance(values, list) and value.keys() <= _MATCH and isinstance(negated, bool):
            if all(wanted is None or isinstance(wanted, str | int | float) for wanted in values):
                return Match(field, tuple(values), negated)
        elif value.keys() <= _RANGE and all(_is_number(value[name]) for name in value.keys() - {"field"}):
            return Range(**value)
    raise UsageError(
        'a condition of a filter is {"field": NAME, "values": [...]}, perhaps with "negated": true, or'
        f' {{"field": NAME, "gte": NUMBER}} (or {", ".join(name for name in BOUNDS if name != "gte")})'
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
