"""Filters and fields that are checked against what a collection has."""

import pytest

import cbir
from cbir.errors import UsageError
from cbir.filters.conditions import Match
from cbir.search.fields import checked_filter, require_fields


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
