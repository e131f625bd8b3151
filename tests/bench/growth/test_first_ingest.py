"""The first ingest of a collection."""

from pathlib import Path

import pytest
from cbir.bench.growth.first_ingest import first_ingest
from cbir.bench.growth.workplace import Workplace


def test_published_images_are_slower_than_durable_ones(place: Workplace) -> None:
    found = first_ingest(place, None)
    assert (found.name, found.images) == ("made-up images", place.points)
    assert found.durable > found.published
    total = found.images / found.published
    assert found.ratio == pytest.approx(1 - found.build / total)


def test_a_source_of_the_user_with_options(place: Workplace, folder: Path) -> None:
    found = first_ingest(place, f"{folder} --limit 12 --model {place.model}")
    assert found.images in (11, 12), "one of the files is no image"
