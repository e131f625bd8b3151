"""What the conditions of a filter mean."""

from typing import Any

import pytest

from cbir.errors import UsageError
from cbir.filters.conditions import BOUNDS, FieldKind, Match, Range, filterable_fields, kind_of, matches, values_of

PAYLOAD = {"key": "a", "label": "Shoes", "year": 2012, "new": True, "tags": ["a", "b"], "none": None, "empty": []}


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        (Match("label", ("Shoes", "Bags")), True),
        (Match("label", ("Bags",)), False),
        (Match("label", ("Bags",), negated=True), True),
        (Match("tags", ("b",)), True),
        (Match("tags", ("b",), negated=True), False),
        (Match("year", (2012.0,)), True),
        (Match("year", ("2012",)), False),
        (Match("new", (True,)), True),
        (Match("new", (1,)), False),
        (Match("none", (None,)), True),
        (Match("empty", (None,)), True),
        (Match("missing", (None,)), True),
        (Match("label", (None,)), False),
        (Match("missing", ("x",), negated=True), True),
        (Range("year", gte=2012, lt=2013), True),
        (Range("year", gt=2012), False),
        (Range("label", gte=0), False),
        (Range("new", gte=0), False),
        (Range("missing", gte=0), False),
    ],
)
def test_a_condition_is_met(condition: Match | Range, met: bool) -> None:
    assert matches(PAYLOAD, (condition,)) is met


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), 10**400])
def test_a_bound_is_finite(number: float) -> None:
    for name in BOUNDS:
        with pytest.raises(UsageError, match="the bounds of 'year' in the filter must be finite"):
            Range("year", **{name: number})
    with pytest.raises(UsageError, match="the filter on 'year' has a value that no image can have"):
        Match("year", (2012, number))


def test_an_integer_to_match_has_64_bits() -> None:
    Match("year", (2**63 - 1, -(2**63)))
    for number in (2**63, -(2**63) - 1, 2**70):
        with pytest.raises(UsageError, match="integers have at most 64 bits"):
            Match("year", (number,))


def test_all_conditions_have_to_be_met() -> None:
    assert matches(PAYLOAD, ())
    assert not matches(PAYLOAD, (Match("label", ("Shoes",)), Range("year", gt=2012)))


@pytest.mark.parametrize(
    ("given", "bounds"),
    [
        (Range("n", gt=1, gte=2), {"gte": 2}),
        (Range("n", gt=2, gte=2), {"gt": 2}),
        (Range("n", lt=1, lte=2), {"lt": 1}),
        (Range("n", gte=0, lt=5), {"gte": 0, "lt": 5}),
    ],
)
def test_of_two_bounds_on_one_side_the_tighter_one_is_kept(given: Range, bounds: dict[str, float]) -> None:
    assert given.bounds == bounds


def test_the_fields_to_filter_by_begin_with_the_label_and_hold_no_identity() -> None:
    kinds = dict.fromkeys(["zoo", "key", "sha256", "label", 'a"b', "age"], FieldKind.TEXT)
    assert list(filterable_fields(kinds)) == ["label", "age", "zoo"]


@pytest.mark.parametrize(
    ("value", "kind", "values"),
    [("a", "text", ["a"]), (1.5, "number", [1.5]), (True, "truth", [True]), (None, "text", [])],
)
def test_a_value_has_a_kind(value: Any, kind: str, values: list[Any]) -> None:
    assert kind_of(value) == kind
    assert values_of({"field": value}, "field") == values
