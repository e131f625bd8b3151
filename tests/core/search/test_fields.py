"""Filters and fields that are checked against what a collection has."""

import pytest

import cbir
from cbir.errors import UsageError
from cbir.filters.conditions import Match
from cbir.search.fields import checked_filter, require_fields
from cbir.stores.base import Store
from tests.support.contract import KINDS


def test_a_text_is_parsed_and_a_parsed_filter_is_returned(example_photos: cbir.Collection) -> None:
    parsed = (Match("label", ("Flags",)),)
    assert checked_filter("label=Flags", example_photos.store) == parsed
    assert checked_filter(parsed, example_photos.store) is parsed
    assert checked_filter(None, example_photos.store) == checked_filter("", example_photos.store) == ()


def test_every_field_that_a_point_has_may_be_named(example_photos: cbir.Collection) -> None:
    require_fields(["label", "key", "sha256"], example_photos.store)


def test_an_unknown_field_is_refused_with_similar_names(example_photos: cbir.Collection) -> None:
    with pytest.raises(UsageError, match=r"no image has a field 'lable'\. Nearest: label$"):
        require_fields(["label", "lable"], example_photos.store)
    with pytest.raises(UsageError, match=r"'xyz'\. Nearest: label, key, sha256"):
        checked_filter("label=Flags and xyz>3", example_photos.store)


def test_a_filter_is_a_text(example_photos: cbir.Collection) -> None:
    with pytest.raises(UsageError, match="a filter is a text such as .*, not a list"):
        checked_filter(["label=Flags"], example_photos.store)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lable=Shoes", r"no image has a field 'lable'\. Nearest: label"),
        ("label!=Shoes and lable!=Shoes", r"no image has a field 'lable'"),
        ("label=Sho*", r"no image has label=Sho\*: wildcards are not supported\. Name the values"),
        ("year=new", r"no image has year=new: the values of this field are numbers"),
        ("year=99999999999999999999", r"no image has year=9+: .* integers have at most 64 bits"),
        ("mixed.a=1", r"no image has a field 'mixed\.a'\. A filter cannot look into a nested field such as 'mixed'"),
    ],
)
def test_a_filter_that_can_only_be_a_mistake_is_refused(
    contract_stores: dict[str, Store], kind: str, text: str, message: str
) -> None:
    store = contract_stores[kind]
    with pytest.raises(UsageError, match=message) as caught:
        checked_filter(text, store)
    assert "\n" not in str(caught.value)
    for fine in ("label!=Sho*", "year=", "year!=new", "year>=2010", "label=Bags|*", "mixed=1", "tags=red|blue"):
        assert checked_filter(fine, store)
