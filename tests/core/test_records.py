"""Ids and payloads: the same everywhere, and accepted by every store."""

import json
from datetime import datetime
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cbir.records import Item, digest, full_payload, id_bytes, id_text, point_id, to_json, to_plain


def test_an_id_depends_on_data_set_and_key_alone() -> None:
    assert point_id("photos", "a/1.jpg") == "0ea5d941-1b30-59f9-9c90-ce4b428135df"  # what is stored already has it
    assert len({point_id("a", "b"), point_id("a", "c"), point_id("b", "b"), point_id("a\nb", "")}) == 4


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_any_value_becomes_json_and_stays_what_it_is(value: Any) -> None:
    once = to_plain(value)
    assert json.loads(to_json({"value": once}))["value"] == once
    assert to_plain(once) == once


def test_values_that_stores_refuse_are_put_into_words() -> None:
    assert to_plain(float("nan")) is None
    assert to_plain(np.float32(1.5)) == 1.5
    assert to_plain([2**63 - 1, -(2**63), 2**63]) == [2**63 - 1, -(2**63), str(2**63)]
    assert to_plain(datetime(2020, 1, 2)) == "2020-01-02T00:00:00"
    assert to_plain("bad \udcff name") == "bad \\udcff name"


def test_the_users_fields_do_not_overwrite_ours() -> None:
    item = Item("k", lambda: b"", "shoe", {"key": 7, "colour": "red"})
    assert full_payload(item, "ab") == {"key": "k", "label": "shoe", "sha256": "ab", "key_": 7, "colour": "red"}


@given(VALUES, VALUES)
def test_a_digest_depends_neither_on_the_order_of_fields_nor_on_the_spelling_of_numbers(one: Any, other: Any) -> None:
    payload = {"one": to_plain(one), "other": to_plain(other)}
    assert digest(payload) == digest(dict(reversed(payload.items()))) == digest(json.loads(to_json(payload)))
    assert digest({"a": 2.0, "b": [{"c": -0.0}]}) == digest({"b": [{"c": 0}], "a": 2})
    assert digest({"a": 2}) != digest({"a": 2.5}) != digest({"a": True})


def test_an_id_comes_back_from_its_bytes() -> None:
    for text in ("00000000-0000-0000-0000-000000000000", "b6d7c0c4-6f0e-5d0e-9c43-1f6b1f0c8a00"):
        assert id_text(id_bytes(text)) == id_text(id_bytes(text).rstrip(b"\0")) == text
