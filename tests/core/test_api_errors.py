"""Wrong calls of the Python API: each raises one clear line that says what is wrong, and changes nothing stored."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cbir
from tests.support.examples import copy_folder

TINY_MODEL = Path(__file__).parents[1] / "fixtures" / "tiny-7c67b1c.onnx"
DIMENSION = 1280
Photos = cbir.Collection
Call = Callable[[Photos], object]
VECTOR = np.ones(DIMENSION, np.float32)
IMAGE = Image.new("RGB", (4, 4))


def vector_with(value: float) -> Any:
    return np.where(np.arange(DIMENSION) == 5, value, VECTOR).astype(np.float32)


USAGE: dict[str, tuple[Call, str]] = {
    "open a wrong path": (lambda _: cbir.open("./missing"), r"No collection found at .*missing\. Create one with"),
    "open an unknown collection": (lambda _: cbir.open("./index", "pets"), "has no collection 'pets'; it has: photos"),
    "open an impossible name": (lambda _: cbir.open("./index", "../x"), "'../x' cannot be a collection's name"),
    "open an unknown scheme": (lambda _: cbir.open("ftp:./index"), "unknown store 'ftp:./index'; a store is edge:PATH"),
    "open an index that is not there": (lambda _: cbir.open("faiss:./index/faiss"), "has no faiss index 'faiss'"),
    "open no store": (lambda _: cbir.open([]), "name a store"),
    "open with an unknown model": (lambda _: cbir.open("./new", create=True, model="resnet"), "no model 'resnet'"),
    "open with another model": (
        lambda _: cbir.open("./index", "photos", model=TINY_MODEL),
        "collection photos in .*index was made with another model than .*: efficientnet_lite0",
    ),
    "find none with another model": (lambda _: cbir.open("./index", model=TINY_MODEL), "No collection made with"),
    "list a wrong path": (lambda _: cbir.collections("./missing"), "there is no index folder .*missing"),
    "drop an unknown collection": (lambda _: cbir.drop("./index", "pets"), "has no collection 'pets'; it has: photos"),
    "add a wrong path": (lambda photos: photos.add("./missing"), "missing does not exist; a source is a folder"),
    "add an empty folder": (lambda photos: photos.add("./empty"), "empty has no image file"),
    "add nothing": (lambda photos: photos.add([]), "no images were given"),
    "add one image": (lambda photos: photos.add(IMAGE), r"give a list of images, for a single one too: \[image\]"),
    "add one array": (lambda photos: photos.add(np.zeros((4, 4, 3), np.uint8)), "give a list of images"),
    "add the bytes of one image": (lambda photos: photos.add(b"\x89PNG"), "give a list of images"),
    "add what is no image": (lambda photos: photos.add([object()]), "object is not an image; give a path, bytes"),
    "add keys of another length": (
        lambda photos: photos.add([IMAGE], keys=["a", "b"]),
        "1 images and 2 keys: give one",
    ),
    "add payloads of another length": (lambda photos: photos.add([IMAGE], payloads=[]), "1 images and 0 payloads"),
    "add a folder with keys": (lambda photos: photos.add("./photos", keys=["a"]), "keys and payloads go with a list"),
    "sync with another source": (lambda photos: photos.sync("./photos"), "was filled from python, not from"),
    "search a wrong path": (lambda photos: photos.search("missing.jpg"), "'missing.jpg' is not a file, and collection"),
    "search a Path that is not there": (
        lambda photos: photos.search(Path("no.jpg")),
        "cannot read the image no.jpg: No",
    ),
    "search a folder": (lambda photos: photos.search("./empty"), "cannot read the image ./empty: Is a directory"),
    "search nothing": (lambda photos: photos.search(), "give at least one example"),
    "search a number": (lambda photos: photos.search(5), "int is not an image; give a path, bytes"),
    "search a list of numbers": (lambda photos: photos.search([0.5] * DIMENSION), "list is not an image"),
    "search an unknown id": (
        lambda photos: photos.search("0" * 8 + "-0000-0000-0000-" + "0" * 12),
        "no point with the id",
    ),
    "a vector of another dimension": (
        lambda photos: photos.search(VECTOR[:3]),
        r"shape \(3,\), .* have 1280 dimensions",
    ),
    "two vectors": (lambda photos: photos.search(np.stack([VECTOR, VECTOR])), r"shape \(2, 1280\), .* 1280 dimensions"),
    "a vector with NaN": (
        lambda photos: photos.search(vector_with(np.nan)),
        "is zero, or has values that are not finite",
    ),
    "an infinite vector": (
        lambda photos: photos.search(vector_with(np.inf)),
        "is zero, or has values that are not finite",
    ),
    "a zero vector": (lambda photos: photos.search(0 * VECTOR), "is zero, or has values that are not finite"),
    "a vector of integers": (lambda photos: photos.search(VECTOR.astype(int)), "an array of int64 is neither an image"),
    "examples that cancel out": (lambda photos: photos.search(like=[VECTOR, -VECTOR]), "cancel each other out"),
    "limit 0": (
        lambda photos: photos.search("1F600", limit=0),
        "the limit must be at least 1, not 0",
    ),
    "offset -1": (lambda photos: photos.search("1F600", offset=-1), "the offset must not be negative, as -1 is"),
    "diversity 2": (lambda photos: photos.search("1F600", diversity=2), "the diversity must be from 0 to 1, not 2"),
    "a score that is no number": (
        lambda photos: photos.search("1F600", min_score=float("nan")),
        "minimum score must be",
    ),
    "ef 0": (lambda photos: photos.search("1F600", ef=0), "ef must be at least 1, not 0"),
    "nprobe -1": (lambda photos: photos.search("1F600", nprobe=-1), "nprobe must be at least 1, not -1"),
    "groups of none": (lambda photos: photos.search("1F600", group_by="label", group_size=0), "at least 1, not 0"),
    "groups by an unknown field": (
        lambda photos: photos.search("1F600", group_by="labl"),
        "no image has a field 'labl'",
    ),
    "an unknown field": (lambda photos: photos.search("1F600", filter="labl=x"), "field 'labl'. Nearest: label"),
    "a malformed filter": (
        lambda photos: photos.search("1F600", filter="label"),
        "the filter 'label' cannot be understood",
    ),
    "an order of words": (lambda photos: photos.count("label > abc"), "label>abc wants a number"),
    "a filter that is a dictionary": (
        lambda photos: photos.count({"label": "x"}),
        "a filter is a text such as .* a dict",
    ),
    "count an unknown field": (lambda photos: photos.count("year=1"), "no image has a field 'year'"),
    "facet an unknown field": (lambda photos: photos.facet("year"), "no image has a field 'year'"),
    "scroll an unknown field": (lambda photos: photos.scroll("year=1"), "no image has a field 'year'"),
    "update nothing chosen": (lambda photos: photos.update({"a": 1}), "say which points: give ids or a filter"),
    "update nothing": (lambda photos: photos.update({}, ids=["1F600"]), "say what to change"),
    "update the key": (lambda photos: photos.update({"key": "a"}, ids=["1F600"]), "the field key cannot be changed"),
    "update a text": (
        lambda photos: photos.update({"a": 1}, ids="1F600"),
        "give a list of ids or keys, not a single text",
    ),
    "update with a wrong filter": (lambda photos: photos.update({"a": 1}, filter="a~1"), "cannot be understood"),
    "delete nothing chosen": (lambda photos: photos.delete(), "say which points: give ids or a filter"),
    "delete by an empty filter": (lambda photos: photos.delete(filter=""), "say which points: give ids or a filter"),
    "delete a text": (lambda photos: photos.delete(ids="1F600"), "give a list of ids or keys, not a single text"),
    "delete by an unknown field": (lambda photos: photos.delete(filter="year=1"), "no image has a field 'year'"),
    "delete hits": (lambda photos: photos.delete(ids=photos.search("1F600")), "Hit is not an id or key; .* hit.id"),
    "get a number": (lambda photos: photos.get(5), "int is not an id or key"),
    "near copies of 65 bits": (lambda photos: photos.duplicates(near=65), "near must be from 0 to 64 bits, not 65"),
    "embed one path": (lambda photos: photos.embedder.embed("query.png"), "give a list of images"),
    "embed a wrong path": (
        lambda photos: photos.embedder.embed(["no.jpg"]),
        "cannot read the image no.jpg: No such file",
    ),
    "embed what is no image": (lambda photos: photos.embedder.embed([None]), "NoneType is not an image"),
    "load an unknown model": (lambda _: cbir.Embedder("resnet"), "no model 'resnet'"),
    "a setting out of range": (lambda _: cbir.Settings(workers=0), "the setting workers: Input should be greater than"),
    "an unknown setting": (lambda _: cbir.Settings(worker=1), "no setting 'worker'; there are: .*workers"),
}
IMAGES: dict[str, tuple[Call, str]] = {
    "search a broken file": (lambda photos: photos.search("broken.jpg"), "broken.jpg: not an image of a known format"),
    "search broken bytes": (lambda photos: photos.search(b"zzz"), "not an image of a known format"),
    "search no bytes": (lambda photos: photos.search(b""), "empty file"),
    "search odd pixels": (lambda photos: photos.search(np.zeros((2, 2, 7), np.uint8)), r"uint8 \(2, 2, 7\) is not an"),
    "embed a broken file": (
        lambda photos: photos.embedder.embed(["broken.jpg"]),
        "broken.jpg: not an image of a known",
    ),
}
CLOSED: dict[str, Call] = {
    "search": lambda photos: photos.search("1F600"),
    "embed": lambda photos: photos.embed("query.png"),
    "get": lambda photos: photos.get("1F600"),
    "count": lambda photos: photos.count(),
    "facet": lambda photos: photos.facet("label"),
    "fields": lambda photos: photos.fields(),
    "scroll": lambda photos: photos.scroll(),
    "duplicates": lambda photos: photos.duplicates(),
    "verify": lambda photos: photos.verify(),
    "vectors": lambda photos: photos.vectors(),
    "info": lambda photos: photos.info,
    "embedder": lambda photos: photos.embedder,
    "add": lambda photos: photos.add("./photos"),
    "sync": lambda photos: photos.sync("./photos"),
    "update": lambda photos: photos.update({"a": 1}, ids=["1F600"]),
    "delete": lambda photos: photos.delete(ids=["1F600"]),
}


@pytest.fixture(scope="module")
def opened(example_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Photos]]:
    root = tmp_path_factory.mktemp("errors")
    copy_folder(example_folder, root)
    (root / "empty").mkdir()
    with cbir.open(root / "index") as photos:
        yield root, photos
        assert photos.verify() == []


@pytest.fixture
def photos(opened: tuple[Path, Photos], monkeypatch: pytest.MonkeyPatch) -> Iterator[Photos]:
    """A collection that is the same afterwards."""
    root, photos = opened
    monkeypatch.chdir(root)
    generation = photos.info.generation
    yield photos
    assert photos.count() == 300
    assert photos.info.generation == generation
    assert [found.condition for found in cbir.collections("./index")] == ["ready"]
    assert not Path("missing").exists()
    assert not Path("new").exists()


@pytest.mark.parametrize("name", USAGE)
def test_a_wrong_call_is_one_clear_line(name: str, photos: Photos) -> None:
    call, message = USAGE[name]
    with pytest.raises(cbir.UsageError) as caught:
        call(photos)
    assert re.search(message, str(caught.value))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_that_cannot_be_used_is_one_clear_line(name: str, photos: Photos) -> None:
    call, message = IMAGES[name]
    with pytest.raises(cbir.ImageError) as caught:
        call(photos)
    assert re.search(message, str(caught.value))
    assert len(str(caught.value).splitlines()) == 1


def test_images_that_cannot_be_added_are_named_and_the_rest_is_stored(photos: Photos) -> None:
    with cbir.open("./some", create=True) as some:
        report = some.add(["broken.jpg", "no.jpg", b"", "query.png", IMAGE], keys=["a", "b", "c", "same", "same"])
        assert (report.read, report.stored, report.skipped) == (5, 1, 4)
        reasons = {failure["key"]: failure["reason"] for failure in report.failures}
        assert reasons.keys() == {"a", "b", "c", "same"}
        assert "not an image of a known format" in reasons["a"]
        assert "No such file" in reasons["b"]
        assert "its key was there before in this run" in reasons["same"]
        assert some.count() == 1


@pytest.mark.parametrize("name", CLOSED)
def test_a_closed_collection_says_so(name: str, opened: tuple[Path, Photos], monkeypatch: pytest.MonkeyPatch) -> None:
    root, _ = opened
    monkeypatch.chdir(root)
    photos = cbir.open("./index")
    photos.close()
    photos.close()
    with pytest.raises(cbir.UsageError, match="this collection is closed; open it again with cbir.open"):
        CLOSED[name](photos)


def test_an_empty_collection_counts_nothing_and_has_nothing_to_search(photos: Photos) -> None:
    with cbir.open("./none", create=True) as empty:
        assert (empty.count(), empty.fields()) == (0, {})
        assert (empty.get("1F600"), list(empty.scroll()), empty.duplicates(), empty.verify()) == (None, [], [], [])
        for call in (lambda: empty.search("query.png"), empty.vectors):
            with pytest.raises(cbir.UsageError, match="is empty; add images first"):
                call()
    assert not Path("none").exists()


def test_a_server_that_is_not_there_is_named(photos: Photos) -> None:
    with pytest.raises(cbir.CbirError, match="the Qdrant server http://127.0.0.1:9 cannot be reached"):
        cbir.open("http://127.0.0.1:9")


def test_a_damaged_file_is_not_served_and_named(example_folder: Path, tmp_path: Path) -> None:
    copy_folder(example_folder, tmp_path)
    (log,) = Path("index").rglob("*.log")
    log.write_bytes(log.read_bytes()[:-100])
    with pytest.raises(cbir.DamageError, match=r"\.log"):
        cbir.open("./index")
