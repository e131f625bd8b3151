"""The text of a filter: its meaning, and errors in it."""

import operator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbir.errors import UsageError
from cbir.filters.conditions import Filter, Match, Range
from cbir.filters.parser import Condition, as_number, parse_conditions, parse_filter


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("label=Shoes|Bags", (Match("label", ("Shoes", "Bags")),)),
        ("year=2012", (Match("year", ("2012", 2012)),)),
        ("new=true and label!=Bags", (Match("new", ("true", True)), Match("label", ("Bags",), negated=True))),
        ("label=", (Match("label", ("", None)),)),
        ("code=9223372036854775807", (Match("code", ("9223372036854775807", 2**63 - 1)),)),
        ("code=9223372036854775808", (Match("code", ("9223372036854775808",)),)),
        ("name=a\udcff", (Match("name", ("a\\udcff",)),)),
        ("year>=2012 and price<3.5", (Range("year", gte=2012.0), Range("price", lt=3.5))),
    ],
)
def test_what_a_filter_means(text: str, meaning: Filter) -> None:
    assert parse_filter(text) == meaning


@pytest.mark.parametrize("text", ["label", "label>Shoes", "and", "year>=2012 and", "year>nan", f"year<1{400 * '0'}"])
def test_a_filter_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_filter(text)


ROW: dict[str, Any] = {
    "kind": "Flip Flops",
    "year": 2016,
    "price": 12.5,
    "code": "007",
    "day": "2024-03-01",
    "sold": True,
    "note": None,
    "empty": "",
    "a b": "x=y and z",
    "bad": float("nan"),
    "text number": "30",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kind=Flip Flops", True),
        ("kind=flip flops", False),
        ("kind!=Flip Flops", False),
        ("kind = 'Flip Flops' and year = 2016", True),
        ("kind=Flip Flops AND year!=2016", False),
        ("kind=Boots|Flip Flops", True),
        ("year!=2015 | 2016", False),
        ("year=2016.0", True),
        ("year>2015", True),
        ("year>2016", False),
        ("year>=2016 and year<=2016 and year<2017", True),
        ("price>12", True),
        ("price<9", False),
        ("price=12.5", True),
        ("code=007", True),
        ("code=7", False),
        ("code>6", True),
        ("text number>9", True),
        ("text number<4", False),
        ("day>=2024-02-30", True),
        ("day<2024", False),
        ("sold=true", True),
        ("sold=False", False),
        ("note=", True),
        ("note!=", False),
        ("note=x", False),
        ("note!=x", True),
        ("note<5", False),
        ("note<x", False),
        ("empty=", True),
        ("bad=", True),
        ("bad<1", False),
        ("kind>5", False),
        ("missing=", True),
        ('"a b"="x=y and z"', True),
        ("'a b'!='x=y and z'", False),
        ("kind==Flip Flops", True),
    ],
)
def test_what_conditions_mean(text: str, expected: bool) -> None:
    assert all(condition.holds(ROW) for condition in parse_conditions(text)) is expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "kind",
        "kind~x",
        "=x",
        "a=b=c",
        "a=1 or b=2",
        "a=1 and",
        "a=1 and ",
        "and a=1 and b",
        "a='x",
        "a=1 b=2",
        "(a=1)=2",
    ],
)
def test_what_is_no_condition_is_one_line(text: str) -> None:
    with pytest.raises(UsageError, match="the filter .* cannot be understood at") as caught:
        parse_conditions(text)
    assert "\n" not in str(caught.value)


names = st.text(st.characters(exclude_characters="\"'", exclude_categories=["Cs"]), min_size=1)


@given(st.lists(st.tuples(names, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), names | st.just("")), min_size=1))
def test_any_condition_can_be_written(parts: list[tuple[str, str, str]]) -> None:
    text = " and ".join(f'"{column}" {sign} "{value}"' for column, sign, value in parts)
    assert parse_conditions(text) == tuple(Condition(*part) for part in parts)


@given(st.text())
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        conditions = parse_conditions(text)
    except UsageError:
        return
    assert all(condition.column and condition.column in text for condition in conditions)


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**53), 2**53))
def test_numbers_compare_as_numbers(found: float, wanted: int) -> None:
    signs = {
        "=": operator.eq,
        "!=": operator.ne,
        "<": operator.lt,
        "<=": operator.le,
        ">": operator.gt,
        ">=": operator.ge,
    }
    for sign, compare in signs.items():
        assert Condition("n", sign, str(wanted)).holds({"n": found}) is compare(found, wanted)


@given(
    st.text(min_size=1), st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers())
)
def test_a_value_either_equals_or_differs(value: str, found: Any) -> None:
    row = {"column": found}
    assert Condition("column", "=", value).holds(row) is not Condition("column", "!=", value).holds(row)


def test_only_numbers_and_texts_that_spell_one_are_numbers() -> None:
    assert [as_number(value) for value in (2, "2.5", True, [1], None, "inf", "x")] == [2, 2.5, *[None] * 5]
