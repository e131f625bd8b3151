"""The payload table answers as the conditions themselves do, payload by payload."""

from collections import Counter
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cbir.filters.conditions import FieldKind, Match, Range, matches, values_of
from cbir.filters.evaluate import PayloadTable, sorted_counts

VALUES: st.SearchStrategy[Any] = st.sampled_from(["a", "b", 0, 1, 1.0, 2.5, True, False])
PAYLOADS = st.lists(st.dictionaries(st.sampled_from("xy"), VALUES | st.none() | st.lists(VALUES, max_size=3)))
CONDITIONS = st.builds(
    Match, st.sampled_from("xyz"), st.lists(VALUES | st.none(), max_size=2).map(tuple), st.booleans()
) | st.builds(Range, st.sampled_from("xyz"), gte=st.sampled_from([None, 0, 1]), lt=st.sampled_from([None, 1, 3]))


@given(PAYLOADS, st.lists(CONDITIONS, max_size=3).map(tuple))
def test_a_mask_is_what_the_conditions_say(payloads: list[dict], filter: tuple[Match | Range, ...]) -> None:
    assert PayloadTable(payloads).mask(filter).tolist() == [matches(payload, filter) for payload in payloads]


@given(PAYLOADS)
def test_a_facet_counts_the_points_with_each_value(payloads: list[dict]) -> None:
    def keys(payload: dict) -> set[tuple[bool, Any]]:
        return {(isinstance(value, bool), value) for value in values_of(payload, "x")}  # True is not 1

    expected = Counter(key for payload in payloads for key in keys(payload))
    found = PayloadTable(payloads).facet("x", ())
    assert {(isinstance(value, bool), value): count for value, count in found} == expected


def test_the_most_frequent_value_comes_first_and_equal_ones_by_their_text() -> None:
    assert sorted_counts([("b", 1), (10, 2), ("c", 3), (9, 2), ("a", 1)]) == [
        ("c", 3),
        (10, 2),
        (9, 2),
        ("a", 1),
        ("b", 1),
    ]


def test_values_of_other_kinds_are_counted_nowhere() -> None:
    table = PayloadTable([{"x": {"no": "plain value"}}, {"x": "a"}, {"x": ["a", {"none": 1}]}])
    assert table.facet("x", ()) == [("a", 2)]
    assert table.mask((Match("x", ("a",)),)).tolist() == [False, True, True]


def test_a_facet_counts_only_what_meets_the_filter() -> None:
    table = PayloadTable([{"label": "a", "year": 1}, {"label": "b", "year": 2}, {"label": "b", "year": 3}])
    assert table.facet("label", (Range("year", lt=3),)) == [("a", 1), ("b", 1)]
    assert table.facet("missing", ()) == []


def test_the_kind_of_a_field_is_that_of_all_its_values() -> None:
    table = PayloadTable([{"a": 1, "b": True, "c": "x"}, {"a": 2.5, "b": 1, "c": {"no": "plain value"}}])
    assert table.kinds == {"a": FieldKind.NUMBER, "b": FieldKind.TEXT, "c": FieldKind.TEXT}


def test_a_mask_cannot_be_changed_by_accident() -> None:
    mask = PayloadTable([{"a": 1}]).mask(())
    assert not mask.flags.writeable
    assert np.array_equal(mask, [True])


def test_only_points_without_a_value_match_a_missing_one() -> None:
    table = PayloadTable([{"x": 1}, {}, {"x": None}, {"x": []}, {"x": [2]}])
    assert table.mask((Match("x", (None,)),)).tolist() == [False, True, True, True, False]
    assert table.mask((Match("x", (None, 2), negated=True),)).tolist() == [True, False, False, False, False]


def test_a_number_and_a_truth_value_are_different_filters() -> None:
    table = PayloadTable([{"x": True}, {"x": 1}, {"x": 1.0}])
    assert table.mask((Match("x", (True,)),)).tolist() == [True, False, False]
    assert table.mask((Match("x", (1,)),)).tolist() == [False, True, True]
