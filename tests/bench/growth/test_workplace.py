"""The collection that is changed, and its copies."""

from pathlib import Path

import pytest
from cbir.bench.growth.workplace import Workplace, name_of

from cbir.errors import CbirError


def test_a_change_of_a_copy_leaves_the_collection_as_it_was(place: Workplace) -> None:
    root = place.copy()
    with place.open(root) as photos:
        assert photos.delete(filter="part=0") == 100
        assert photos.count() == place.points - 100
        assert not photos.verify()
    with place.open(place.copy()) as photos:
        assert photos.count() == place.points
        assert not photos.verify()


def test_a_fresh_build_has_the_points_of_the_grown_collection(place: Workplace) -> None:
    root = place.copy()
    with place.open(root) as photos:
        photos.delete(filter="part=0")
    with place.open(root) as photos, place.open(place.build_fresh(root)) as fresh:
        assert {image.id for image in photos.scroll()} == {image.id for image in fresh.scroll()}


def test_a_command_that_fails_says_why(place: Workplace) -> None:
    with pytest.raises(CbirError, match=r"cbir-ingest update failed: error: .*nothing"):
        place.command(place.copy(), "update", "seen=true", "--filter", "nothing=1")


def test_a_collection_that_was_built_before_is_used_again(place: Workplace) -> None:
    pointer = place.folder / "base" / "growth" / "current"
    before = pointer.stat()
    again = Workplace(place.folder.parent, ["faiss?index=Flat"], place.points, 32, lambda count: None)
    assert pointer.stat() == before
    with again.open(again.copy()) as photos:
        assert photos.count() == place.points


def test_each_store_has_a_url_of_its_own(place: Workplace, tmp_path: Path) -> None:
    place = object.__new__(Workplace)
    place._engines = ["edge", "faiss?index=HNSW16", "faiss?index=Flat"]
    urls = place.urls(tmp_path)
    assert urls == [f"edge:{tmp_path}", f"faiss:{tmp_path}/faiss1?index=HNSW16", f"faiss:{tmp_path}/faiss2?index=Flat"]
    assert list(map(name_of, urls)) == ["edge", "faiss index=HNSW16", "faiss index=Flat"]
