"""Opening, listing and dropping collections, and what is refused in one line."""

from pathlib import Path

import pytest

import cbir
from cbir.collection import Collection
from tests.support.api import FLAT, Call, Filled, assert_refused, write_images
from tests.support.examples import copy_folder

TINY_MODEL = Path(__file__).parents[1] / "fixtures" / "tiny-7c67b1c.onnx"


def test_a_password_is_shown_nowhere(filled_stores: dict[str, Filled]) -> None:
    guarded = filled_stores["server"].url.replace("//", "//ann:secret@")
    with cbir.open(guarded, settings=cbir.Settings(insecure=True)) as photos:
        assert photos.count() == 28
        for shown in (photos, photos.info, photos.search("new/path"), *cbir.collections(guarded)):
            assert "secret" not in repr(shown)


def test_collections_are_listed(filled: Filled) -> None:
    (found,) = cbir.collections(filled.url)
    assert (found.collection, found.points, found.condition) == (filled.reports[0].collection, 28, "ready")
    assert (found.dataset, found.model) == ("emoji", "efficientnet_lite0")
    with cbir.open(filled.url, found.dataset) as by_dataset, cbir.open(filled.url, found.collection) as by_name:
        assert by_dataset.info.collection == by_name.info.collection == found.collection


USAGE: dict[str, tuple[Call, str]] = {
    "open a wrong path": (lambda _: cbir.open("./missing"), r"No collection found at .*missing\. Create one with"),
    "open an unknown collection": (lambda _: cbir.open("./index", "pets"), "has no collection 'pets'; it has: photos"),
    "open an impossible name": (lambda _: cbir.open("./index", "../x"), "invalid collection name: '../x'"),
    "open an unknown scheme": (lambda _: cbir.open("ftp:./index"), "unknown store 'ftp:./index'; a store is edge:PATH"),
    "open a missing index": (lambda _: cbir.open("faiss:./index/faiss"), "has no faiss index 'faiss'"),
    "open no store": (lambda _: cbir.open([]), "name a store"),
    "open with an unknown model": (lambda _: cbir.open("./new", create=True, model="resnet"), "no model 'resnet'"),
    "open with another model": (
        lambda _: cbir.open("./index", "photos", model=TINY_MODEL),
        "collection photos in .*index was made with another model than .*: efficientnet_lite0",
    ),
    "find none with another model": (lambda _: cbir.open("./index", model=TINY_MODEL), "No collection made with"),
    "list a wrong path": (lambda _: cbir.collections("./missing"), "there is no index folder .*missing"),
    "drop an unknown collection": (lambda _: cbir.drop("./index", "pets"), "has no collection 'pets'; it has: photos"),
}


@pytest.mark.parametrize("name", USAGE)
def test_a_wrong_call_is_one_clear_line(name: str, example_photos: Collection) -> None:
    call, message = USAGE[name]
    assert_refused(lambda: call(example_photos), cbir.UsageError, message)


def test_a_server_that_cannot_be_reached_is_named() -> None:
    with pytest.raises(cbir.CbirError, match="the Qdrant server http://127.0.0.1:9 cannot be reached"):
        cbir.open("http://127.0.0.1:9")


def test_a_damaged_file_is_not_served_and_named(example_folder: Path, tmp_path: Path) -> None:
    copy_folder(example_folder, tmp_path)
    (log,) = Path("index").rglob("*.log")
    log.write_bytes(log.read_bytes()[:-100])
    with pytest.raises(cbir.DamageError, match=r"\.log"):
        cbir.open("./index")


def test_a_damaged_collection_is_not_taken_for_an_empty_one() -> None:
    photos = cbir.open(FLAT, "photos", create=True)
    photos.add(write_images("photos", 2, 8))
    (manifest,) = Path("index").rglob("manifest.json")
    manifest.write_text("{}")
    with pytest.raises(cbir.DamageError):
        cbir.open(FLAT, "photos", create=True)


def test_one_server_is_not_named_twice() -> None:
    with pytest.raises(cbir.UsageError, match="the same store twice"):
        cbir.open(["http://localhost:6333", "http://localhost:6333/"], create=True)
