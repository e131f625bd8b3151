"""The kinds of fields on a server: every filter finds what it has to, in whatever order the values came."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qdrant_client import models

from cbir.errors import UsageError
from cbir.filters.conditions import matches
from cbir.filters.parser import parse_filter
from cbir.index.generation import Plan
from cbir.records import Point, digest
from cbir.settings import Settings
from cbir.stores.qdrant.kinds import kinds_in, merged
from cbir.stores.qdrant.records import KINDS, METADATA
from cbir.stores.qdrant.server import ServerError
from cbir.stores.registry import open_store
from tests.support.building import qdrant_writer
from tests.support.qdrant_points import KEY, POINTS, OpenWriter
from tests.support.qdrant_server import Running, qdrant_server

pytestmark = pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
PRICES = [0, 1, 2, 2.5, 3, 2.25, 7.0, 2, 2.5]
FILTERS = ["price<2.6", "price=2.5", "price>=2 and price<=3", "price!=2.5", "price=2"]
VALUES = st.sampled_from([1, 2.0, 2.5, "a", "b" * 200, True, None]) | st.lists(st.sampled_from([1, 0.5, "a"]))


def with_values(name: str, values: Sequence[Any]) -> list[Point]:
    points = []
    for point, value in zip(POINTS, values, strict=False):
        payload = {**point.payload, name: value}
        points.append(replace(point, payload=payload, digest=digest(payload)))
    return points


def wrong(url: str, collection: str, points: list[Point], **settings: Any) -> list[str]:
    """Return the filters that do not count what they have to."""
    store = open_store(url, collection, Settings(**settings))
    expected = {text: sum(matches(point.payload, parse_filter(text)) for point in points) for text in FILTERS}
    return [text for text in FILTERS if store.count(parse_filter(text)) != expected[text]]


@pytest.mark.parametrize("first", [1, 3, 4, len(PRICES)])
def test_ranges_find_fractions_that_come_after_whole_numbers(
    first: int, server: Running, plan: Plan, open_writer: OpenWriter
) -> None:
    points = with_values("price", PRICES)
    plan = replace(plan, collection=f"{plan.collection}-{first}")
    open_writer(collection=plan.collection).write(points[:first])
    open_writer(collection=plan.collection).write(points[first:])
    assert wrong(server.url, plan.collection, points) == []


def test_a_change_to_a_fraction_is_found(server: Running, plan: Plan, open_writer: OpenWriter) -> None:
    points = with_values("price", [1, 2, 3])
    writer = open_writer()
    writer.write(points)
    writer.update([points[1].id], {"price": 2.5})
    points[1] = replace(points[1], payload={**points[1].payload, "price": 2.5})
    assert wrong(server.url, plan.collection, points) == []


def test_floats_without_fractions_are_stored_as_integers_and_counted_by_the_server(
    server: Running, plan: Plan, open_writer: OpenWriter
) -> None:
    open_writer().write(with_values("year", [2011.0, 2012.0, 2011.0, 2013]))
    store = open_store(server.url, plan.collection, Settings())
    before = server.stats().requests
    assert store.facet("year") == [(2011, 2), (2012, 1), (2013, 1)]
    after = server.stats().requests
    scrolls = "POST /collections/{}/points/scroll"
    assert after.get(scrolls) == before.get(scrolls)
    (payload,) = store.payloads([POINTS[0].id])
    assert payload is not None
    assert (payload["year"], type(payload["year"])) == (2011, int)


def test_a_facet_of_values_of_several_kinds_has_them_all(server: Running, plan: Plan, open_writer: OpenWriter) -> None:
    open_writer().write(with_values("code", [1, "1", 1, 2.5, True]))
    store = open_store(server.url, plan.collection, Settings())
    assert store.facet("code") == [(1, 2), ("1", 1), (2.5, 1), (True, 1)]
    assert store.fields()["code"] == "text"


def fill_as_an_older_version(server: Running, plan: Plan, points: list[Point], key: str | None = None) -> None:
    """Store points as versions without kinds did: a field's index was that of its first value."""
    client = server.client(key)
    record = {"dataset": plan.dataset, "source": plan.source, "created": "2025-01-01T00:00:00+00:00"}
    vectors = models.VectorParams(size=8, distance=models.Distance.COSINE)
    metadata = {METADATA: {**record, "model": asdict(plan.model)}}
    client.create_collection(plan.collection, vectors_config=vectors, metadata=metadata)
    client.create_payload_index(plan.collection, "price", models.PayloadSchemaType.INTEGER)
    structs = [
        models.PointStruct(id=point.id, vector=point.vector.tolist(), payload=dict(point.payload)) for point in points
    ]
    client.upsert(plan.collection, structs)


@pytest.mark.parametrize("who", ["a reader", "a writer"])
def test_a_collection_of_an_older_version_is_repaired_when_it_is_opened(
    who: str, server: Running, plan: Plan, open_writer: OpenWriter
) -> None:
    points, plan = with_values("price", PRICES), replace(plan, collection=f"{plan.collection}-{who[-6:]}")
    fill_as_an_older_version(server, plan, points)
    if who == "a writer":
        open_writer(collection=plan.collection)
    assert wrong(server.url, plan.collection, points) == []
    assert server.client().get_collection(plan.collection).config.metadata[KINDS]["price"] == "float"  # type: ignore[index]


def test_every_payload_is_read_once_of_an_older_version_and_never_of_a_newer_one(
    server: Running, plan: Plan, open_writer: OpenWriter
) -> None:
    def scrolls() -> int:
        return server.stats().requests.get("POST /collections/{}/points/scroll", 0)

    fill_as_an_older_version(server, plan, with_values("price", PRICES))
    before = scrolls()
    open_store(server.url, plan.collection, Settings())
    assert scrolls() == before + 1
    open_store(server.url, plan.collection, Settings())
    assert scrolls() == before + 1
    writer = open_writer()
    before = scrolls()  # its ids were read
    writer.write(with_values("price", ["new"]))
    assert scrolls() == before


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_server_that_refuses_an_index_is_read_as_it_is(status: int, server: Running, plan: Plan) -> None:
    plan = replace(plan, collection=f"{plan.collection}-{status}")
    fill_as_an_older_version(server, plan, with_values("price", PRICES))
    server.inject("PUT .*/index", status=status, times=-1)
    if status == 404:
        with pytest.raises(ServerError, match="answered 404"):
            open_store(server.url, plan.collection, Settings())
    else:
        assert open_store(server.url, plan.collection, Settings()).fields() == {"label": "text", "price": "number"}


def test_long_texts_are_no_values_to_filter_by() -> None:
    assert kinds_in([{"name": "x" * 100, "notes": "x" * 101}]) == {"name": "keyword", "notes": "text"}


def test_a_key_that_may_only_read_gets_no_wrong_answer(plan: Plan) -> None:
    points = with_values("price", PRICES)
    with qdrant_server(api_key=KEY) as guarded:
        guarded.configure(read_only="reader")
        fill_as_an_older_version(guarded, plan, points, KEY)
        reader = open_store(guarded.url, plan.collection, Settings(QDRANT_API_KEY="reader"))
        assert reader.fields() == {"label": "text", "price": "number"}
        assert reader.facet("price")[0] == (2, 2)
        with pytest.raises(UsageError, match="the index of price in .* leaves out numbers with a fraction"):
            reader.count(parse_filter("price<2.6"))
        assert wrong(guarded.url, plan.collection, points, QDRANT_API_KEY=KEY) == []
        assert reader.count(parse_filter("price<2.6")) == 7


def test_two_writers_agree_whoever_writes_last(server: Running, plan: Plan, open_writer: OpenWriter) -> None:
    points, writer = with_values("price", [2.5, 1]), open_writer()
    writer.write(points[:1])
    client = server.client()  # another process read the kinds before that, and writes its own only now
    client.create_payload_index(plan.collection, "price", models.PayloadSchemaType.INTEGER)
    client.update_collection(plan.collection, metadata={KINDS: {"price": "integer"}})
    writer.flush()
    qdrant_writer(server.url, plan, Settings()).write(points[1:])
    assert wrong(server.url, plan.collection, points) == []


@given(st.lists(VALUES, max_size=6), st.lists(VALUES, max_size=6))
def test_the_kind_depends_on_the_values_and_not_on_their_order(some: list[Any], others: list[Any]) -> None:
    first, second = (kinds_in({"field": value} for value in values) for values in (some, others))
    assert kinds_in({"field": value} for value in some + others) == merged(first, second) == merged(second, first)
    assert merged(first, first) == first
