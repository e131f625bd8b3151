"""Collections of a `cbir-serve`, opened as any store. What every store does is tested by `test_base`."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import cbir
from cbir.stores.registry import connect
from tests.support.api import FLAT, write_images
from tests.support.http_api import serving

KEY = "the key of a test"


@pytest.fixture(scope="module")
def address(index: Path) -> Iterator[str]:
    with serving(f"faiss:{index}/faiss", read_keys=(KEY,)) as started:
        yield f"cbir+{started}"


@pytest.fixture
def settings() -> cbir.Settings:
    return cbir.Settings(api_key=KEY)


@pytest.mark.parametrize("path", ["", "/photos", "/photos-efficientnet_lite0", "/photos/"])
def test_a_collection_is_opened_by_its_url(path: str, address: str, settings: cbir.Settings, index: Path) -> None:
    with cbir.open(f"{address}{path}", settings=settings) as photos, cbir.open(f"faiss:{index}/faiss") as local:
        (found,) = cbir.collections(f"{address}{path}", settings=settings)
        assert (found.collection, found.points, found.condition) == (
            "photos-efficientnet_lite0",
            local.count(),
            "ready",
        )
        assert photos.info.model == local.info.model
        assert photos.count() == local.count() and photos.fields() == local.fields()
        assert photos.facet("label") == local.facet("label")
        image = next(local.scroll())
        assert photos.get(image.key) == image
        assert photos.get(image.id).image().size == image.image().size
        for query in ({"like": image.key}, {"text": "a cat"}, {"like": image.id, "group_by": "label"}):
            assert [hit.id for hit in photos.search(**query)] == [hit.id for hit in local.search(**query)]
        assert np.allclose(photos.vectors(), local.vectors())
        assert [found.key for found in photos.scroll("label=Flags")] == [
            found.key for found in local.scroll("label=Flags")
        ]


def test_a_missing_collection_and_a_missing_key(address: str, settings: cbir.Settings) -> None:
    with pytest.raises(cbir.UsageError, match="No collection found"):
        cbir.open(f"{address}/nothing", settings=settings)
    with pytest.raises(cbir.UsageError, match="no collection other"):
        cbir.open(address, "other", settings=settings)
    with pytest.raises(cbir.UsageError, match="a read key is needed"):
        cbir.open(address)
    assert connect(address, settings).plan("nothing") is None


def test_it_is_copied_into_another_store(address: str, settings: cbir.Settings, tmp_path: Path) -> None:
    catalog = connect(address, settings)
    contents = catalog.contents("photos-efficientnet_lite0")
    points = list(contents.points())
    assert len(points) == contents.count
    assert contents.plan.model.name == "efficientnet_lite0"
    read = catalog.read_back("photos-efficientnet_lite0")
    assert {point_id for point_id, _ in read.described} == {point.id for point in points}
    some = read.get([points[0].id, points[1].id])
    assert {point_id: point.payload for point_id, point in some.items()} == {
        point.id: point.payload for point in points[:2]
    }


def test_a_change_without_a_write_key_is_refused(address: str, settings: cbir.Settings) -> None:
    with cbir.open(address, settings=settings) as photos:
        for change in (
            lambda: photos.update({"a": 1}, filter="label=Flags"),
            lambda: photos.delete(filter="label=Flags"),
            lambda: photos.add([next(write_images("few", 1, 1).rglob("*.png"))]),
            lambda: cbir.drop(address, "photos-efficientnet_lite0", settings=settings),
        ):
            with pytest.raises(cbir.UsageError, match="this server only reads"):
                change()
        with pytest.raises(cbir.UsageError, match="`verify` works on the files of an index"):
            photos.verify()


def test_what_is_changed_on_the_server_is_seen(tmp_path: Path) -> None:
    with cbir.open(FLAT, "few", create=True) as few:
        few.add(write_images("few", 3, 1))
        with serving(FLAT) as started, cbir.open(f"cbir+{started}/few") as photos:
            assert photos.count() == 3
            few.delete(ids=["c/0.png"])
            assert photos.count() == 2
            assert photos.get("c/0.png") is None
