"""Filters as plain values."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbir.errors import UsageError
from cbir.filters.conditions import Filter, Match, Range
from cbir.filters.plain import filter_of, plain_filter

numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.none() | st.booleans() | numbers | st.text(st.characters(codec="utf-8"))
bounds = st.none() | numbers
conditions = st.builds(Match, st.text(), st.lists(values).map(tuple), st.booleans()) | st.builds(
    Range, st.text(), bounds, bounds, bounds, bounds
)


@given(st.lists(conditions).map(tuple))
def test_a_filter_comes_back_from_json(filter: Filter) -> None:
    assert filter_of(json.loads(json.dumps(plain_filter(filter)))) == filter


def test_the_form_is_the_documented_one() -> None:
    assert plain_filter((Match("label", ("Shoes",)), Range("year", gte=2012))) == [
        {"field": "label", "values": ["Shoes"]},
        {"field": "year", "gte": 2012},
    ]
    assert plain_filter((Match("a", (None,), negated=True),)) == [{"field": "a", "values": [None], "negated": True}]


@pytest.mark.parametrize(
    "value",
    [
        "label=Shoes",
        5,
        None,
        {},
        {"field": 5, "values": []},
        {"field": "a", "values": "b"},
        {"field": "a", "values": [[]]},
        {"field": "a", "values": [], "negated": 1},
        {"field": "a", "values": [], "gte": 1},
        {"field": "a", "gte": "1"},
        {"field": "a", "gte": True},
        {"field": "a", "above": 1},
        {"field": "a", "gte": float("inf")},
        {"field": "a", "values": [2**64]},
    ],
)
def test_what_is_no_condition_is_refused(value: Any) -> None:
    with pytest.raises(UsageError, match="condition of a filter|finite"):
        filter_of([value])
