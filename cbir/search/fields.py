"""Filters and field names, checked against the fields that a collection has."""

from collections.abc import Iterable
from difflib import get_close_matches

from cbir.errors import UsageError
from cbir.filters.conditions import FieldKind, Filter, Match, Range
from cbir.filters.parser import parse_filter
from cbir.records import RESERVED
from cbir.stores.base import Records


def checked_filter(filter: str | Filter | None, store: Records) -> Filter:
    """Return the parsed filter of a text, whose fields must exist; a parsed filter is returned as it is."""
    if filter is not None and not isinstance(filter, str | tuple):
        raise UsageError(f"a filter is a text such as 'label=Shoes and year>=2015', not a {type(filter).__name__}")
    if not isinstance(filter, str):
        return filter or ()
    parsed = parse_filter(filter) if filter else ()
    offered = require_fields([condition.field for condition in parsed], store)
    for condition in parsed:
        _require_possible(condition, offered, store)
    return parsed


def require_fields(fields: Iterable[str], store: Records) -> dict[str, FieldKind]:
    """Return the fields of the store; raise `UsageError`, with similar names, if no point has one of `fields`."""
    offered = store.fields()
    for field in dict.fromkeys(fields):
        if field in offered or field in RESERVED or store.count((Match(field, (None,), negated=True),)):
            continue
        outer = field.partition(".")[0]
        if outer != field and store.count((Match(outer, (None,), negated=True),)):
            raise UsageError(
                f"no image has a field {field!r}. A filter cannot look into a nested field such as {outer!r}: store the"
                " value as a field of its own"
            )
        names = [*offered, *(name for name in RESERVED if name not in offered)]
        similar = get_close_matches(field, names, n=3, cutoff=0.5) or names
        raise UsageError(f"no image has a field {field!r}. Nearest: {', '.join(similar)}")
    return offered


def _require_possible(condition: Match | Range, offered: dict[str, FieldKind], store: Records) -> None:
    """Raise `UsageError` if no image has the values of a condition, and they look like a mistake."""
    if isinstance(condition, Range) or condition.negated:
        return
    texts = [value for value in condition.values if isinstance(value, str)]
    wildcard = next((text for text in texts if "*" in text), None)
    number = len(texts) == len(condition.values) and offered.get(condition.field) is FieldKind.NUMBER
    if (wildcard or number) and not store.count((condition,)):
        why = (
            "wildcards are not supported. Name the values, as in 'label=Shoes|Boots'"
            if wildcard
            else "the values of this field are numbers, and integers have at most 64 bits"
        )
        raise UsageError(f"no image has {condition.field}={wildcard or '|'.join(texts)}: {why}")
