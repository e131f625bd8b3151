"""Filters by every field of the collection: values with their counts, and ranges of numbers."""

from collections.abc import Mapping

import streamlit as st

from cbir.filters.conditions import Filter, Match, Range, Value, is_finite
from cbir.filters.parser import possible_values
from cbir.records import without_fraction

from ..components import web
from . import choice
from .address import Parameters, touched
from .choice import Chosen

MAX_VALUES = 500


def draw(chosen: Chosen) -> Filter:
    """Draw the panel and return the chosen filter."""
    fields = choice.fields(chosen)
    icon = ":material/filter_alt_off:"
    st.button("Clear filters", icon=icon, type="tertiary", on_click=_clear, disabled=not selected(fields))
    for field, kind in fields.items():
        if kind == "number":
            for column, end, label in zip(st.columns(2), ("from", "to"), (f"{field} from", "to"), strict=True):
                column.number_input(
                    label,
                    value=None,
                    key=f"{end}.{field}",
                    placeholder="any",
                    persist_state="session",
                    on_change=touched,
                    step=1.0,
                    format="%g",
                )
        else:
            _values(chosen, field, fields)
    return selected(fields)


def selected(fields: Mapping[str, str], without: str = "") -> Filter:
    """Return the filter that the session holds for these fields, without the conditions of one of them."""
    conditions: list[Match | Range] = []
    for field, kind in fields.items():
        if field == without:
            continue
        if kind == "number":
            low, high = (st.session_state.get(f"{end}.{field}") for end in ("from", "to"))
            if low is not None or high is not None:
                conditions.append(Range(field, gte=low, lte=high))
        elif values := st.session_state.get(f"is.{field}"):
            conditions.append(
                Match(field, tuple(dict.fromkeys(value for text in values for value in possible_values(text))))
            )
    return tuple(conditions)


def in_words(filter: Filter) -> str:
    """Return a filter in words."""
    words = []
    for condition in filter:
        if isinstance(condition, Match):
            words.append(f"{condition.field} {' or '.join(dict.fromkeys(map(_text, condition.values)))}")
        else:
            bounds = (("from", condition.gte), ("to", condition.lte))
            shown = [f"{word} {without_fraction(bound)}" for word, bound in bounds if bound is not None]
            words.append(" ".join([condition.field, *shown]))
    return ", ".join(words)


def adopt(parameters: Parameters) -> None:
    """Replace the session's filter with the one in an address's parameters."""
    for name in [name for name in st.session_state if str(name).startswith(("is.", "from.", "to."))]:
        st.session_state[name] = [] if str(name).startswith("is.") else None
    for name, values in parameters.items():
        if name.startswith("is."):
            st.session_state[name] = values
        elif name.startswith(("from.", "to.")):
            st.session_state[name] = _number(values[-1])


def parameters(fields: Mapping[str, str]) -> Parameters:
    """Return the address's parameters for the session's filter."""
    found: Parameters = {}
    for field, kind in fields.items():
        for name in (f"from.{field}", f"to.{field}") if kind == "number" else (f"is.{field}",):
            value = st.session_state.get(name)
            if value is not None and value != []:
                found[name] = list(value) if isinstance(value, list) else [str(without_fraction(value))]
    return found


def _clear() -> None:
    touched()
    adopt({})


def _values(chosen: Chosen, field: str, fields: Mapping[str, str]) -> None:
    ticked: list[str] = st.session_state.get(f"is.{field}") or []

    def choose(values: list[str]) -> None:
        touched()
        st.session_state[f"is.{field}"] = values

    counted = choice.facet(chosen, field, selected(fields, without=field), MAX_VALUES)
    counts = dict.fromkeys(ticked, 0) | {_text(value): count for value, count in counted}
    web.facet(field, counts, ticked, choose, cut=len(counted) == MAX_VALUES)


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if is_finite(number) else None
