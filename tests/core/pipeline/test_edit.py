"""Points deleted or changed in every store at once."""

from pathlib import Path

import pytest

from cbir.errors import CbirError, UsageError
from cbir.filters.parser import parse_filter
from cbir.pipeline.edit import change_points
from cbir.pipeline.writers import Target
from cbir.progress import silent
from cbir.settings import Settings
from tests.support.building import both, build, builder_for, catalogs, points_of, unit_vectors
from tests.support.made_index import everything

VECTORS = unit_vectors(30)
POINTS = points_of(VECTORS)


def deleted(urls: list[str], ids: list[str], conditions: str = "") -> int:
    filter = parse_filter(conditions) if conditions else ()
    return change_points(catalogs(*urls), "made", ids, filter, Settings(), silent, Target.delete)


def test_ids_and_filter_together_are_changed_once_in_every_store(tmp_path: Path) -> None:
    """Every third point has the label `class 0`, the first one among them."""
    urls = [*both(tmp_path / "index"), f"faiss:{tmp_path}/other?index=Flat"]
    build(urls[:2], VECTORS)
    build(urls[2:], VECTORS)
    assert deleted(urls, [POINTS[0].id, POINTS[1].id, "unknown"], "label=class 0") == 11
    assert len(everything(tmp_path / "index", "made")) == 19
    assert len(everything(tmp_path / "index", "made", "faiss")) == 19
    assert deleted(urls[2:], [POINTS[1].id]) == 0, "it was deleted there as well"


def test_neither_ids_nor_a_filter_is_refused(tmp_path: Path) -> None:
    build(both(tmp_path / "index"), VECTORS)
    with pytest.raises(UsageError, match="give ids or a filter"):
        deleted(both(tmp_path / "index"), [])


def test_a_collection_with_an_unfinished_ingest_is_left_alone(tmp_path: Path) -> None:
    urls = both(tmp_path / "index")
    build(urls, VECTORS)
    builder = builder_for(urls, VECTORS)
    builder.write(points_of(unit_vectors(40))[30:])
    builder.flush()
    builder.close()
    with pytest.raises(CbirError, match="unfinished ingest"):
        deleted(urls, [POINTS[0].id])
    assert len(everything(tmp_path / "index", "made")) == 30
