"""A filter in Qdrant's form finds the same points as the filter itself."""

import pytest
from qdrant_client import QdrantClient, models

from cbir.errors import UsageError
from cbir.filters.conditions import Filter, Match, Range, matches
from cbir.filters.translate import Dialect, field_path, filtered_ef, qdrant_filter

DIALECT = Dialect(models, models.Range, bool)
PAYLOADS = [
    {"label": "a", "year": 3, "new": True, "a b": "x"},
    {"label": "b", "year": 3.0, "new": False, "tags": ["a", "b"]},
    {"label": "c", "year": 4.5, "a b": "y"},
    {"year": 9007199254740993, "tags": []},
]


@pytest.fixture(scope="module")
def client() -> QdrantClient:
    client = QdrantClient(":memory:")
    client.create_collection("c", vectors_config=models.VectorParams(size=1, distance=models.Distance.DOT))
    points = [models.PointStruct(id=i, vector=[1.0], payload=payload) for i, payload in enumerate(PAYLOADS)]
    client.upsert("c", points)
    return client


@pytest.mark.parametrize(
    "filter",
    [
        (Match("label", ("a", "b")),),
        (Match("label", ("a", None)),),
        (Match("label", ("a",), negated=True),),
        (Match("year", (3,)),),
        (Match("year", (9007199254740993,)),),
        (Match("new", (True,)),),
        (Match("tags", ("b",)), Range("year", gte=3, lt=4)),
        (Match("tags", (None,)),),
        (Match("a b", ("x",)),),
        (Match("label", ()),),
        (Range("year", gt=3),),
    ],
)
def test_qdrant_finds_what_the_filter_means(filter: Filter, client: QdrantClient) -> None:
    found, _ = client.scroll("c", scroll_filter=qdrant_filter(filter, DIALECT))
    assert [point.id for point in found] == [i for i, payload in enumerate(PAYLOADS) if matches(payload, filter)]


@pytest.mark.parametrize(
    ("number", "exact"), [(2**53, False), (-(2**53), False), (2**53 + 1, True), (-(2**53) - 1, True), (2.0**60, False)]
)
def test_an_integer_that_no_float_holds_is_matched_as_it_is(number: float, exact: bool) -> None:
    (condition,) = qdrant_filter((Match("year", (number,)),), DIALECT).must[0].should
    assert (condition.match, condition.range) == (
        (models.MatchValue(value=number), None) if exact else (None, models.Range(gte=number, lte=number))
    )


def test_a_filter_without_conditions_is_none() -> None:
    assert qdrant_filter((), DIALECT) is None


def test_the_name_of_a_field_is_quoted_where_qdrant_needs_it() -> None:
    assert [field_path(name) for name in ("label", "a b", "a.b")] == ["label", '"a b"', '"a.b"']
    with pytest.raises(UsageError, match="its name contains a quotation mark"):
        field_path('a"b')


def test_a_filtered_search_has_half_the_ef_rounded_up() -> None:
    assert [filtered_ef(ef) for ef in (1, 64, 66, 67)] == [1, 22, 22, 23]
