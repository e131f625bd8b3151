"""The formulas of `cbir-bench plan`: known values, and what must hold for any number of images."""

import math
from dataclasses import fields, replace

import pytest
from cbir.bench.capacity.plan import (
    FLOAT32,
    INT8,
    LAYOUTS,
    IndexPlan,
    Options,
    Plan,
    disk_bytes,
    make_plan,
    parse_count,
    plan_index,
    ram_bytes,
    shard_count,
)
from cbir.bench.capacity.probe import ImageCosts, IndexCosts
from hypothesis import given
from hypothesis import strategies as st

from cbir.errors import UsageError
from cbir.stores.qdrant.server import server_options
from cbir.stores.url import parse
from tests.support.capacity import EDGE, FLAT, IMAGES, OPTIONS

COUNTS = st.integers(1, 10**10)


def plan(images: int, options: Options = OPTIONS, costs: ImageCosts = IMAGES) -> Plan:
    return make_plan(images, options, costs, [EDGE, FLAT])


def index_plan(images: int, costs: IndexCosts) -> IndexPlan:
    return plan_index(images, OPTIONS, IMAGES, costs)


def test_the_worked_example_of_qdrants_guide() -> None:
    """A million points of 768 dimensions in RAM, two replicas: 6.11 GiB, and 7.33 to plan for."""
    planned = plan(10**6, replace(OPTIONS, dimension=768, replicas=2))
    assert planned.servers[0].ram_gb * 1e9 / 2**30 == pytest.approx(7.33, abs=0.02)


def test_int8_needs_less_ram_and_more_disk() -> None:
    assert ram_bytes(FLOAT32, OPTIONS) - ram_bytes(INT8, OPTIONS) == pytest.approx(256 * 3 * 1.2)
    assert ram_bytes(INT8, OPTIONS) == pytest.approx((256 + 16 * 2 * 4 * 1.2 + 52) * 1.2)
    more = disk_bytes(INT8, OPTIONS, IMAGES) - disk_bytes(FLOAT32, OPTIONS, IMAGES)
    assert more == pytest.approx(256 * 1.2), "the copy is kept with the originals"


def test_the_disk_holds_thumbnails_as_base64_payload() -> None:
    without = disk_bytes(FLOAT32, OPTIONS, replace(IMAGES, thumbnail_bytes=0.0))
    assert disk_bytes(FLOAT32, OPTIONS, IMAGES) - without == pytest.approx(6000 * 4 / 3 * 1.5 * 1.2)


def test_a_graph_grows_by_n_log_n_and_a_file_in_a_line() -> None:
    million = index_plan(10**6, EDGE)
    assert million.building_hours * 3600 == pytest.approx(8 * 50 * math.log(10**6) / math.log(20_000))
    assert (million.disk_gb, million.ram_gb) == pytest.approx((1.25, 1.25 + 0.032))
    assert index_plan(10**6, FLAT).building_hours * 3600 == pytest.approx(50), "without a graph it is a line"


@pytest.mark.parametrize("costs", [EDGE, FLAT], ids=lambda costs: costs.name)
def test_the_plan_for_the_measured_points_is_what_was_measured(costs: IndexCosts) -> None:
    size = index_plan(20_000, costs)
    assert (size.disk_gb * 1e9, size.building_hours * 3600) == pytest.approx((costs.disk_bytes, costs.core_seconds))


@given(COUNTS, COUNTS)
def test_more_images_never_need_less(first: int, second: int) -> None:
    few, many = plan(min(first, second)), plan(max(first, second))
    assert few.recommended.nodes <= many.recommended.nodes
    for less, more in zip(few.servers, many.servers, strict=True):
        assert less.ram_gb <= more.ram_gb and less.nodes <= more.nodes and less.replicas <= more.replicas
    for small, large in zip(few.indexes, many.indexes, strict=True):
        for name in [field.name for field in fields(IndexPlan)][1:]:
            assert getattr(small, name) <= getattr(large, name) * (1 + 1e-9), name


def test_every_cost_of_an_image_counts() -> None:
    before = plan(10**6)
    slower = plan(10**6, costs=replace(IMAGES, core_seconds=0.02))
    assert slower.indexes[0].embedding_hours == pytest.approx(2 * before.indexes[0].embedding_hours)
    for name in ("thumbnail_bytes", "payload_bytes"):
        larger = plan(10**6, costs=replace(IMAGES, **{name: getattr(IMAGES, name) + 100}))
        assert larger.indexes[0].log_gb == pytest.approx(before.indexes[0].log_gb + 0.1)
        assert all(size.disk_gb > old.disk_gb for size, old in zip(larger.servers, before.servers, strict=True))


@given(COUNTS, st.none() | st.integers(1, 5), st.integers(32, 4096), st.floats(8, 2000))
def test_the_recommended_store_can_be_made(images: int, replicas: int | None, dimension: int, node_gb: float) -> None:
    planned = plan(images, Options(dimension, replicas, node_gb)).recommended
    options, layout = server_options(parse(planned.url)), LAYOUTS[planned.layout]
    assert (options.shards or 1, options.replicas or 1) == (planned.shards, planned.replicas)
    assert (options.on_disk, options.quantization) == ("on_disk" in layout, layout.get("quantization"))
    assert planned.replicas == (replicas or planned.replicas)
    assert planned.nodes >= planned.replicas, "two replicas of a shard cannot be on one server"
    assert planned.ram_gb <= planned.nodes * node_gb * 0.8
    assert planned.shards % planned.nodes == 0, "a server would have more than another"


def test_settings_by_size() -> None:
    options = replace(OPTIONS, dimension=1280)
    million, hundred, billion = (plan(count, options).recommended for count in (10**6, 10**8, 10**9))
    assert million.url == "http://HOST:6333"
    assert hundred.url.endswith("?shards=12&replicas=2&on_disk=1&quantization=scalar")
    assert billion.nodes >= 20, "a server takes some hundred million points"
    assert billion.shards >= 2 * billion.nodes
    assert [shard_count(10**8, nodes) for nodes in (1, 3, 4, 5, 6, 12)] == [12, 12, 12, 10, 12, 24]


def test_numbers_of_images() -> None:
    assert [parse_count(text) for text in ("250000", "1_000", "10M", "1.5b")] == [250_000, 1000, 10**7, 15 * 10**8]
    for text in ("many", "0", "-1", "12x"):
        with pytest.raises(UsageError, match=f"Invalid number of images: '{text}'"):
            parse_count(text)
