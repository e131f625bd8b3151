"""Searching and reading a collection on each kind of store: all stores say the same, and a wrong call is one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cbir
from cbir.collection import Collection
from tests.support.api import (
    CATEGORIES,
    FLAT,
    NEW,
    PER_CATEGORY,
    Call,
    Filled,
    assert_refused,
    key_of,
    write_images,
)


@pytest.fixture
def photos(filled: Filled) -> cbir.Collection:
    return filled.photos


def test_stored_images_are_read_counted_and_listed(photos: cbir.Collection, emoji_folder: Path) -> None:
    stored = photos.get("new/bytes")
    assert stored is not None
    assert (stored.key, stored.label, stored.payload["year"], stored.payload["tags"]) == (
        "new/bytes",
        "New",
        2011,
        ["a"],
    )
    assert photos.get(stored.id) == stored
    assert photos.get("nothing") is None
    assert stored.image().size == (192, 192)
    assert photos.count("label=New and year>=2012") == 2
    assert photos.count("label!=New") == len(CATEGORIES) * PER_CATEGORY
    assert photos.facet("label") == [(category, PER_CATEGORY) for category in CATEGORIES] + [("New", 4)]
    assert photos.facet("tags", "year>=2011") == [("a", 2), ("b", 1)]
    assert photos.facet("label", limit=1) == [(CATEGORIES[0], PER_CATEGORY)]
    assert photos.fields() == {"label": "text", "tags": "text", "year": "number"}
    files = {key_of(path) for path in emoji_folder.rglob("*.png")}
    everything = list(photos.scroll())
    assert {image.key for image in everything} == files | set(NEW)
    assert [image.id for image in everything] == sorted(image.id for image in everything)
    assert {image.key for image in photos.scroll("label=New")} == set(NEW)


def test_vectors_are_in_the_order_of_scroll_and_read_only(
    photos: cbir.Collection, filled_stores: dict[str, Filled]
) -> None:
    vectors = photos.vectors()
    assert (vectors.shape, vectors.dtype) == ((photos.count(), 1280), np.float32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)
    assert isinstance(vectors, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        vectors[0, 0] = 1
    assert np.allclose(vectors, filled_stores["edge"].photos.vectors(), atol=1e-3)
    row = [image.key for image in photos.scroll()].index("new/path")
    hits = photos.search("new/path", limit=100, exact=True)
    scores = vectors @ vectors[row]
    keys = [image.key for image in photos.scroll()]
    assert [keys[index] for index in np.argsort(-scores) if index != row] == [hit.key for hit in hits]


DIMENSION = 1280
VECTOR = np.ones(DIMENSION, np.float32)


def vector_with(value: float) -> Any:
    return np.where(np.arange(DIMENSION) == 5, value, VECTOR).astype(np.float32)


USAGE: dict[str, tuple[Call, str]] = {
    "search a wrong path": (lambda photos: photos.search("missing.jpg"), "'missing.jpg' is not a file, and collection"),
    "search a missing Path": (
        lambda photos: photos.search(Path("no.jpg")),
        "cannot read the image no.jpg: No",
    ),
    "search a folder": (lambda photos: photos.search("./empty"), "cannot read the image ./empty: Is a directory"),
    "search nothing": (lambda photos: photos.search(), "give at least one example"),
    "search a number": (lambda photos: photos.search(5), "int is not an image. Use a path, bytes"),
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
    "diverse groups": (
        lambda photos: photos.search("1F600", diversity=0.3, group_by="label"),
        "a diversity does not work with groups",
    ),
    "diversity 2": (lambda photos: photos.search("1F600", diversity=2), "the diversity must be from 0 to 1, not 2"),
    "an empty text": (lambda photos: photos.search(text=""), "^the text is empty. Enter a word or a sentence.$"),
    "a blank text": (lambda photos: photos.search("1F600", text=["red", "  "]), "^the text is empty"),
    "a long text": (
        lambda photos: photos.search("1F600", unlike_text="x" * 2001),
        "the text has 2,001 characters; the limit is 2,000",
    ),
    "a text that is a number": (lambda photos: photos.search(text=5), "^int is not a text$"),
    "a text that is an image": (lambda photos: photos.search(text=b"red"), "^bytes is not a text$"),
    "only an unlike text": (lambda photos: photos.search(unlike_text="red"), "give at least one example"),
    "a text of no weight": (lambda photos: photos.search(text=("red", 0)), "the weight of an example must be above 0"),
    "an image of no weight": (
        lambda photos: photos.search(like=[("1F600", -0.5)]),
        "the weight of an example must be above 0",
    ),
    "a text of infinite weight": (
        lambda photos: photos.search("1F600", unlike_text=[("red", float("inf"))]),
        "the weight of an example must be above 0",
    ),
    "classify by a single label": (lambda photos: photos.classify(["cat"]), "at least two labels"),
    "classify by a text": (lambda photos: photos.classify("cat"), "at least two labels"),
    "classify by an empty label": (lambda photos: photos.classify(["cat", ""]), "the text is empty"),
    "classify by a number": (lambda photos: photos.classify(["cat", 5]), "int is not a text"),
    "classify with a template without a place": (
        lambda photos: photos.classify(["cat", "dog"], template="a photo"),
        "the template 'a photo' has no {} where a label goes",
    ),
    "classify by an unknown field": (
        lambda photos: photos.classify(["cat", "dog"], filter="labl=x"),
        "field 'labl'. Nearest: label",
    ),
    "embed a single text": (lambda photos: photos.embedder.embed_text("red"), "a list of texts is needed"),
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
    "an order of words": (lambda photos: photos.count("label > abc"), "label>abc in the filter needs a number"),
    "a filter that is a dictionary": (
        lambda photos: photos.count({"label": "x"}),
        "a filter is a text such as .* a dict",
    ),
    "count an unknown field": (lambda photos: photos.count("year=1"), "no image has a field 'year'"),
    "facet an unknown field": (lambda photos: photos.facet("year"), "no image has a field 'year'"),
    "scroll an unknown field": (lambda photos: photos.scroll("year=1"), "no image has a field 'year'"),
    "get a number": (lambda photos: photos.get(5), "int is not an id or key"),
    "near copies of 65 bits": (lambda photos: photos.duplicates(near=65), "near must be from 0 to 64 bits, not 65"),
    "embed one path": (lambda photos: photos.embedder.embed("query.png"), "a list of images is needed"),
    "embed a wrong path": (
        lambda photos: photos.embedder.embed(["no.jpg"]),
        "cannot read the image no.jpg: No such file",
    ),
    "embed what is no image": (lambda photos: photos.embedder.embed([None]), "NoneType is not an image"),
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
    "search by text": lambda photos: photos.search(text="red heart"),
    "classify": lambda photos: photos.classify(["cat", "dog"]),
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


@pytest.mark.parametrize("name", USAGE)
def test_a_wrong_call_is_one_clear_line(name: str, example_photos: Collection) -> None:
    call, message = USAGE[name]
    assert_refused(lambda: call(example_photos), cbir.UsageError, message)


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_that_cannot_be_used_is_one_clear_line(name: str, example_photos: Collection) -> None:
    call, message = IMAGES[name]
    assert_refused(lambda: call(example_photos), cbir.ImageError, message)


@pytest.mark.parametrize("name", CLOSED)
def test_a_closed_collection_says_so(
    name: str, opened_examples: tuple[Path, Collection], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = opened_examples
    monkeypatch.chdir(root)
    photos = cbir.open("./index")
    photos.close()
    photos.close()
    with pytest.raises(cbir.UsageError, match="this collection is closed; open it again with cbir.open"):
        CLOSED[name](photos)


def test_an_empty_collection_counts_nothing_and_has_nothing_to_search(example_photos: Collection) -> None:
    with cbir.open("./none", create=True) as empty:
        assert (empty.count(), empty.fields()) == (0, {})
        assert (empty.get("1F600"), list(empty.scroll()), empty.duplicates(), empty.verify()) == (None, [], [], [])
        for call in (
            lambda: empty.search("query.png"),
            lambda: empty.search(text="red heart"),
            lambda: empty.classify(["cat", "dog"]),
            empty.vectors,
        ):
            with pytest.raises(cbir.UsageError, match="is empty; add images first"):
                call()
    assert not Path("none").exists()


@pytest.mark.parametrize("text", ["x" * 300, "~nobody-here/x.png", "a\0b"])
def test_an_impossible_path_is_a_wrong_query(text: str) -> None:
    photos = cbir.open(FLAT, create=True)
    photos.add(write_images("photos", 1, 10))
    with pytest.raises(cbir.UsageError, match="is not a file"):
        photos.search(text)
