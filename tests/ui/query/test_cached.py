"""Values that all visitors of a collection share."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cbir.ui.query import cached
from cbir.ui.query.choice import Chosen

import cbir
from cbir.filters.conditions import Match


@pytest.fixture
def chosen(index: Path) -> Iterator[Chosen]:
    with cbir.open(f"edge:{index}") as collection:
        yield Chosen(collection, collection.info)


def test_fields_and_facets_are_those_of_the_collection(chosen: Chosen) -> None:
    assert cached.fields(chosen) == chosen.collection.fields()
    counts = cached.facet(chosen, "label", (), 100)
    assert counts == chosen.collection.facet("label", limit=100)
    label, count = counts[0]
    assert cached.facet(chosen, "label", (Match("label", (label,)),), 100) == [(label, count)]


def test_a_seed_chooses_the_sample(chosen: Chosen) -> None:
    first = cached.sample(chosen, 10, 0)
    assert len(set(first)) == 10
    assert cached.sample(chosen, 10, 0) == first
    assert cached.sample(chosen, 10, 1) != first


def test_the_calibration_is_computed_once_for_each_generation(chosen: Chosen) -> None:
    calibration = cached.score_calibration(chosen)
    assert cached.score_calibration(Chosen(chosen.collection, replace(chosen.info, count=1))) is calibration
    newer = Chosen(chosen.collection, replace(chosen.info, generation="000002"))
    assert cached.score_calibration(newer) is not calibration
