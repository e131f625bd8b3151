"""Shards: the same share of the keys on every machine. Versions: what of an item has changed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbir.errors import UsageError
from cbir.records import Item
from cbir.sources.base import in_shard, is_same_row, parse_shard, with_version


@given(key=st.text(), count=st.integers(1, 100))
def test_a_key_is_in_one_shard(key: str, count: int) -> None:
    assert sum(in_shard(key, (number, count)) for number in range(1, count + 1)) == 1


def test_shards_are_even_and_the_same_for_ever() -> None:
    keys = [f"{number:05}.jpg" for number in range(10_000)]
    sizes = [sum(in_shard(key, (number, 4)) for key in keys) for number in (1, 2, 3, 4)]
    assert all(abs(size - 2500) < 150 for size in sizes)
    assert [[number for number in range(1, 17) if in_shard(key, (number, 16))] for key in ("a.jpg", "\udcff.jpg")] == [
        [10],
        [12],
    ]


@pytest.mark.parametrize(
    "text", ["", "3", "3/", "/16", "0/16", "17/16", "-1/16", "1/0", "1.0/2", "a/b", "1/2/3", "²/3"]
)
def test_what_is_no_shard(text: str) -> None:
    assert parse_shard("3/16") == (3, 16)
    with pytest.raises(UsageError, match=r"Use I/N with 1 <= I <= N, such as 3/16"):
        parse_shard(text)


def test_a_version_tells_a_new_date_from_another_row() -> None:
    item = Item("a", bytes, "Shoes", {"year": 2024})
    stored = with_version(item, "10:1").version
    assert is_same_row(with_version(item, "10:2").version, stored)
    assert not is_same_row(with_version(replace(item, label="Boots"), "10:1").version, stored)
    assert not is_same_row(with_version(replace(item, payload={"year": 2025}), "10:1").version, stored)
    assert not is_same_row("", ""), "an image without a file has no version"
