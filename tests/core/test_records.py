"""Ids and payloads: the same everywhere, and accepted by every store."""

import gc
import json
import math
import pickle
from datetime import datetime
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbir.records import (
    Hit,
    Item,
    Payload,
    Point,
    digest,
    full_payload,
    id_bytes,
    id_text,
    old_digest,
    point_id,
    stored_hits,
    to_json,
    to_plain,
    with_changes,
    without_fraction,
)


def test_an_id_depends_on_data_set_and_key_alone() -> None:
    assert point_id("photos", "a/1.jpg") == "0ea5d941-1b30-59f9-9c90-ce4b428135df"  # what is stored already has it
    assert len({point_id("a", "b"), point_id("a", "c"), point_id("b", "b"), point_id("a\nb", "")}) == 4


def test_a_stored_hit_is_read_when_it_is_used_and_once() -> None:
    class Log:
        reads: ClassVar[list[str]] = []

        def id(self, position: int) -> str:
            self.reads.append(f"id {position}")
            return "a"

        def payload(self, position: int) -> Payload:
            self.reads.append(f"payload {position}")
            return {"key": "b"}

    log = Log()
    first, second, third = stored_hits(log, [0.5, 0.25, 0.0], [7, 8, 9])
    assert (second.score, Log.reads) == (0.25, [])
    assert (first.key, first.payload, first.id, first.id) == ("b", {"key": "b"}, "a", "a")
    assert Log.reads == ["payload 7", "id 7"]
    assert (second.id, second.key, third.key) == ("a", "b", "b")
    assert log in gc.get_referents(*gc.get_referents(third)), "its id can still be read"
    assert log not in gc.get_referents(*gc.get_referents(first, second)), "a hit that is read keeps no log open"
    assert first == Hit("a", {"key": "b"}, 0.5) == pickle.loads(pickle.dumps(first))  # noqa: S301
    assert repr(first) == "Hit(id='a', payload={'key': 'b'}, score=0.5)"
    for hit in (first, Hit("a", {}, 0.5)):
        with pytest.raises(AttributeError, match="'Hit' object has no attribute 'ids'"):
            hit.ids  # type: ignore[attr-defined]  # noqa: B018


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
    assert to_plain(-(2**63) - 1) == str(-(2**63) - 1)
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


def test_digests_and_json_are_those_that_are_stored() -> None:
    payload = {"name": "ü", "n": 1.0}
    assert digest(payload) == "caa42987104c7b2edd073b1909e11eeef253f2b57ef4ba0273a8e41f5132f5bc"
    assert old_digest(payload) == "e41534093fd53e99b1882338c495296423dd296cb98243623c601ae8321dcd2b"
    assert to_json(payload) == '{"name":"ü","n":1.0}'
    for function in (digest, to_json):
        with pytest.raises(ValueError, match="Out of range float"):
            function({"n": math.nan})


@pytest.mark.parametrize(
    ("number", "kind"), [(2.0**53 - 1, int), (1.0 - 2**53, int), (2.0**53, float), (2.0**70, float), (0.5, float)]
)
def test_a_whole_number_is_an_integer_if_a_float_holds_it_exactly(number: float, kind: type) -> None:
    assert without_fraction(number) == number
    assert type(without_fraction(number)) is kind


def test_changes_set_and_remove_fields_and_keep_the_version_of_the_source() -> None:
    point = Point("id", np.ones(1, np.float32), {"key": "k", "size": None, "colour": "red"}, "", b"", "first")
    changed = with_changes(point, {"colour": None, "year": 2011})
    assert changed.payload == {"key": "k", "size": None, "year": 2011}
    assert (changed.version, changed.digest) == ("first", digest(changed.payload))
    assert with_changes(changed, {"year": 2012}).version == "first"


def test_hits_have_key_and_label_and_can_be_in_a_set() -> None:
    hit = Hit("id", {"key": "k", "label": "shoe"}, 0.5)
    assert (hit.key, hit.label) == ("k", "shoe")
    assert {hit, Hit("id", {"key": "k", "label": "shoe"}, 0.5)} == {hit}
