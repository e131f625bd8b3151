"""What the text of a filter means."""

import pytest

from cbir.errors import UsageError
from cbir.filters.conditions import Filter, Match, Range
from cbir.filters.parser import parse_filter


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("label=Shoes|Bags", (Match("label", ("Shoes", "Bags")),)),
        ("year=2012", (Match("year", ("2012", 2012)),)),
        ("new=true and label!=Bags", (Match("new", ("true", True)), Match("label", ("Bags",), negated=True))),
        ("label=", (Match("label", ("", None)),)),
        ("year>=2012 and price<3.5", (Range("year", gte=2012.0), Range("price", lt=3.5))),
    ],
)
def test_what_a_filter_means(text: str, meaning: Filter) -> None:
    assert parse_filter(text) == meaning


@pytest.mark.parametrize("text", ["label", "label>Shoes", "and", "year>=2012 and"])
def test_a_filter_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_filter(text)
