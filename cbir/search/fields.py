"""Filters and field names, checked against the fields that a collection has."""

from collections.abc import Iterable
from difflib import get_close_matches

from cbir.errors import UsageError
from cbir.filters.conditions import Filter, Match
from cbir.filters.parser import parse_filter
from cbir.records import RESERVED
from cbir.stores.base import Store


def checked_filter(filter: str | Filter | None, store: Store) -> Filter:
    """Return the parsed filter of a text, whose fields must exist; a parsed filter is returned as it is."""
    if filter is not None and not isinstance(filter, str | tuple):
        raise UsageError(f"a filter is a text such as 'label=Shoes and year>=2015', not a {type(filter).__name__}")
    if not isinstance(filter, str):
        return filter or ()
    parsed = parse_filter(filter) if filter else ()
    require_fields([condition.field for condition in parsed], store)
    return parsed


def require_fields(fields: Iterable[str], store: Store) -> None:
    """Raise `UsageError`, with similar names, if no point has one of the fields."""
    offered = store.fields()
    for field in dict.fromkeys(fields):
        if field in offered or field in RESERVED or store.count((Match(field, (None,), negated=True),)):
            continue
        names = [*offered, *(name for name in RESERVED if name not in offered)]
        similar = get_close_matches(field, names, n=3, cutoff=0.5) or names
        raise UsageError(f"no image has a field {field!r}. Nearest: {', '.join(similar)}")
