"""Searching a collection on each kind of store: all stores say the same."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cbir
from cbir.collection import Collection
from cbir.results import Hit
from cbir.stores.base import StoreInfo
from cbir.stores.qdrant.store import QdrantStore
from tests.support.api import (
    CATEGORIES,
    KINDS,
    NEW,
    PER_CATEGORY,
    Filled,
    key_of,
    opened,
    write_images,
)
from tests.support.examples import SampleImages
from tests.support.qdrant_server import qdrant_server
from tests.support.web_server import answer, serve


@pytest.fixture
def photos(filled: Filled) -> cbir.Collection:
    return filled.photos


FORMS: dict[str, Callable[[cbir.Collection, Path], Any]] = {
    "path": lambda photos, path: path,
    "text": lambda photos, path: str(path),
    "bytes": lambda photos, path: path.read_bytes(),
    "PIL image": lambda photos, path: Image.open(path),
    "array": lambda photos, path: np.asarray(opened(path.read_bytes())),
    "vector": lambda photos, path: 3 * photos.embed(path).astype(np.float64),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_image_finds_itself_in_any_form(form: str, photos: cbir.Collection, query_file: Path) -> None:
    hits = photos.search(FORMS[form](photos, query_file), limit=3)
    assert hits[0].key == key_of(query_file)
    assert hits[0].score == pytest.approx(1, abs=0.001)
    assert 1.001 > hits[0].score > hits[1].score >= hits[2].score


def test_a_url_is_fetched_where_private_addresses_are_allowed(filled: Filled, query_file: Path) -> None:
    with serve() as site:
        site.pages["/a.png"] = partial(answer, body=query_file.read_bytes())
        assert filled.photos.search(f"{site.url}/a.png", limit=1)[0].key == key_of(query_file)
        with pytest.raises(cbir.CbirError, match="private|address"), cbir.open(filled.url) as careful:
            careful.search(f"{site.url}/a.png")
        with pytest.raises(cbir.CbirError, match="404"):
            filled.photos.search(f"{site.url}/b.png")


def test_a_stored_image_finds_others(photos: cbir.Collection, query_file: Path) -> None:
    stored = photos.get(key_of(query_file))
    assert stored is not None
    by_key = photos.search(stored.key, limit=4)
    assert stored.key not in [hit.key for hit in by_key]
    for example in (stored.id, stored, photos.search(query_file, limit=1)[0]):
        assert photos.search(example, limit=4) == by_key
    vector = dict(zip([image.id for image in photos.scroll()], photos.vectors(), strict=True))[stored.id]
    around = photos.search(np.array(vector), limit=5)
    assert [hit.key for hit in around[1:]] == [hit.key for hit in by_key]


QUERIES: dict[str, dict[str, Any]] = {
    "like two": {"like": ["new/path", "new/pil"], "limit": 20},
    "unlike": {"like": ["new/path", "new/pil"], "unlike": ["new/array"], "limit": 20},
    "filtered": {"like": "new/path", "filter": "label=Flags|New and year!=2012"},
    "by number": {"like": "new/path", "filter": "year>=2011"},
    "by list": {"like": "new/path", "filter": "tags=a"},
    "expanded": {"like": "new/path", "expand": 3, "limit": 6},
    "diverse": {"like": "new/path", "diversity": 0.5, "limit": 6},
    "grouped": {"like": "new/path", "group_by": "label", "group_size": 2, "limit": 3},
    "good ones": {"like": "new/path", "min_score": 0.3},
    "second page": {"like": "new/path", "limit": 7, "offset": 7},
    "exact": {"like": "new/path", "exact": True, "limit": 28},
    "thorough": {"like": "new/path", "ef": 100, "nprobe": 10, "limit": 28},
    "text": {"text": "a flag", "limit": 28, "exact": True},
    "texts": {"text": ["a flag", ("a dog", 0.5)], "limit": 10},
    "not a text": {"text": "food", "unlike_text": ["a red apple"], "limit": 10},
    "image and text": {"image": "new/path", "text": [("a flag", 3)], "unlike_text": ("food", 0.2), "limit": 10},
    "weights": {"like": [("new/path", 2), "new/pil"], "unlike": [("new/array", 0.5)], "limit": 10},
    "text in groups": {"text": "a flag", "group_by": "label", "group_size": 2, "limit": 3},
}


@pytest.mark.parametrize("name", QUERIES)
def test_all_stores_find_the_same(name: str, filled_stores: dict[str, Filled]) -> None:
    found = {kind: filled_stores[kind].photos.search(**QUERIES[name]) for kind in KINDS}
    expected = found["edge"]
    assert len(expected) > 0
    for hits in found.values():
        assert [hit.key for hit in hits] == [hit.key for hit in expected]
        assert [hit.payload for hit in hits] == [hit.payload for hit in expected]
        assert [hit.id for hit in hits] == [hit.id for hit in expected]
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in expected], abs=0.001)
        assert [group.value for group in hits.groups] == [group.value for group in expected.groups]


def test_examples_are_left_out_and_move_the_query(photos: cbir.Collection) -> None:
    count, examples = photos.count(), {"new/path", "new/pil", "new/array"}
    wanted = photos.search(like=["new/path", "new/pil"], limit=count)
    moved = photos.search(like=["new/path", "new/pil"], unlike="new/array", limit=count)
    assert {hit.key for hit in moved} == {image.key for image in photos.scroll()} - examples
    assert {hit.key for hit in wanted} == {hit.key for hit in moved} | {"new/array"}
    assert [hit.key for hit in wanted if hit.key not in examples] != [hit.key for hit in moved]


def assert_alike(found: Sequence[Hit], expected: Sequence[Hit]) -> None:
    """The hits are the same. Scores that were added up in another way may differ in their last bits."""
    assert [(hit.id, hit.payload) for hit in found] == [(hit.id, hit.payload) for hit in expected]
    assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], abs=1e-6)


def test_a_text_is_searched_for_by_its_vector(photos: cbir.Collection) -> None:
    vector = photos.embedder.embed_text(["a flag"])[0]
    hits = photos.search(text="a flag", limit=8)
    assert_alike(hits, photos.search(vector, limit=8))
    assert_alike(hits, photos.search(text=["a flag"], limit=8))
    assert {hit.label for hit in hits[:5]} == {"Flags"}
    assert -1 <= hits[-1].score <= hits[0].score <= 1
    assert list(hits.milliseconds) == ["text model", "store"]
    filtered = photos.search(text="a flag", filter="label=New", min_score=-1, limit=8)
    assert {hit.key for hit in filtered} == set(NEW)


def test_texts_are_wanted_or_not_wanted_together_with_images(photos: cbir.Collection, query_file: Path) -> None:
    flag, food = photos.embedder.embed_text(["a flag", "food"])
    image = photos.embed(query_file)
    count = photos.count()
    for found, expected in (
        (photos.search(text="a flag", unlike_text="food", limit=count), photos.search(flag, unlike=food, limit=count)),
        (photos.search(query_file, text="food", limit=count), photos.search(like=[image, food], limit=count)),
        (
            photos.search(query_file, text=[("food", 2), "a flag"], limit=count),
            photos.search(like=[image, food, food, flag], limit=count),
        ),
        (
            photos.search("new/path", text="food", unlike_text=[("a flag", 0.5)], unlike=["new/pil"], limit=count),
            photos.search("new/path", like=[food], unlike=[(flag, 0.5), "new/pil"], limit=count),
        ),
    ):
        assert_alike(found, expected)
    mixed = photos.search(query_file, text="food", limit=count)
    assert set(mixed.milliseconds) == {"text model", "decode", "preprocess", "model", "store"}
    assert {hit.key for hit in mixed} == {hit.key for hit in photos.scroll()}
    assert [hit.key for hit in mixed] != [hit.key for hit in photos.search(query_file, limit=count)]


def test_images_get_the_label_that_fits_best(photos: cbir.Collection, filled_stores: dict[str, Filled]) -> None:
    labels = ["an animal", "a flag", "food"]
    found = photos.classify(labels)
    assert [image.id for image in found] == [image.id for image in photos.scroll()]
    keys = {image.id: image.key for image in photos.scroll()}
    assert [image.key for image in found] == [keys[image.id] for image in found]
    expected = filled_stores["edge"].photos.classify(labels)
    assert [(image.id, image.label) for image in found] == [(image.id, image.label) for image in expected]
    assert [image.score for image in found] == pytest.approx([image.score for image in expected], abs=0.01)
    flags = photos.classify(labels, filter="label=Flags")
    assert flags == [image for image in found if image.key.startswith("Flags/")]
    assert sum(image.label == "a flag" for image in flags) >= 6 and len(flags) == PER_CATEGORY
    scale = photos.embedder.text_tower.card.scale
    cosines = photos.embedder.embed_text(labels) @ photos.vectors()[0]
    shares = np.exp(scale * cosines) / np.exp(scale * cosines).sum()
    assert found[0].label == labels[int(shares.argmax())]
    assert found[0].score == pytest.approx(float(shares.max()), abs=1e-4)
    assert photos.classify(labels, template="{} in black and white") != found


def test_filters_scores_groups_and_pages(photos: cbir.Collection, query_file: Path) -> None:
    everything = photos.search(query_file, limit=100, exact=True)
    assert len(everything) == photos.count()
    flags = photos.search(query_file, limit=100, filter="label=Flags")
    assert [hit.key for hit in flags] == [hit.key for hit in everything if hit.label == "Flags"]
    good = photos.search(query_file, limit=100, min_score=everything[9].score - 0.0001)
    assert_alike(good, everything[:10])
    pages = [photos.search(query_file, limit=6, offset=offset) for offset in range(0, len(everything) + 6, 6)]
    assert_alike([hit for page in pages for hit in page], everything)
    assert len(pages[-1]) == 0
    groups = photos.search(query_file, limit=10, group_by="label", group_size=2).groups
    assert {group.value for group in groups} == {*CATEGORIES, "New"}
    assert groups[0].value == "Flags"
    for group in groups:
        assert_alike(group.hits, [hit for hit in everything if hit.label == group.value][:2])
    diverse = photos.search(query_file, limit=8, diversity=0.7)
    assert_alike(diverse[:1], everything[:1])
    assert {hit.key for hit in diverse} != {hit.key for hit in everything[:8]}
    assert set(diverse.milliseconds) >= {"decode", "model", "store"}


def test_a_search_does_not_count_the_points_of_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_images("photos", 2, 11)
    with qdrant_server() as server:
        photos = cbir.open(server.url, create=True)
        photos.add(folder)
        vector = photos.embed(folder / "c" / "0.png")

        def counted(store: QdrantStore) -> StoreInfo:
            raise AssertionError("the points were counted")

        monkeypatch.setattr(QdrantStore, "info", property(counted))
        for query in (folder / "c" / "0.png", vector, "c/0.png"):
            assert len(photos.search(query)) in (1, 2)


@pytest.fixture(params=["edge:{}", "faiss:{}/faiss"])
def indexed_photos(index: Path, request: pytest.FixtureRequest) -> Iterator[Collection]:
    """300 images in each kind of embedded store."""
    with cbir.open(request.param.format(index)) as opened:
        yield opened


def test_an_image_finds_itself_first(indexed_photos: Collection, sample_images: SampleImages) -> None:
    for image in sample_images[::60]:
        hits = indexed_photos.search(image[2], limit=5)
        assert hits[0].key == f"{str(image[1]).replace(' & ', '-')}/{image[0]}.png"
        assert hits[0].score == pytest.approx(1, abs=1e-3)
        assert len(hits) == 5
        assert list(hits.milliseconds) == ["decode", "preprocess", "model", "store"]
        assert all(spent > 0 for spent in hits.milliseconds.values())


def test_a_stored_point_is_left_out_of_its_own_answer(indexed_photos: Collection) -> None:
    for point_id in indexed_photos.store.sample(10, 1):
        hits = indexed_photos.search(point_id, limit=7)
        assert len(hits) == 7
        assert point_id not in {hit.id for hit in hits}
        assert list(hits.milliseconds) == ["store"]


def test_hits_come_in_groups_without_the_example(indexed_photos: Collection) -> None:
    (point_id,) = indexed_photos.store.sample(1, 2)
    hits = indexed_photos.search(point_id, group_by="label", limit=4, group_size=3)
    assert len(hits.groups) == 4
    assert list(hits) == [hit for group in hits.groups for hit in group.hits]
    for group in hits.groups:
        assert {hit.label for hit in group.hits} == {group.value}
        assert 0 < len(group.hits) <= 3
        assert point_id not in {hit.id for hit in group.hits}
    best = [group.hits[0].score for group in hits.groups[1:]]
    assert best == sorted(best, reverse=True)


def test_a_batch_gives_what_each_search_gives(photos: cbir.Collection, query_file: Path) -> None:
    stored = photos.get("new/pil")
    vector = photos.embed(query_file)
    images = [query_file, "new/path", stored, vector, query_file.read_bytes()]
    for options in (
        {"limit": 4},
        {"limit": 40, "exact": True},
        {"filter": "label=Flags", "min_score": 0.3, "limit": 5},
    ):
        found = photos.search_batch(images, **options)
        assert len(found) == len(images)
        for hits, image in zip(found, images, strict=True):
            assert_alike(hits, photos.search(image, **options))
    assert photos.search_batch([]) == []
    assert found[0][0].image().size == (192, 192)


def test_a_batch_is_one_call_of_the_store(indexed_photos: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    store = indexed_photos.store
    sizes, search = [], store.search

    def counted(vectors: Any, *arguments: Any, **options: Any) -> Any:
        sizes.append(len(vectors))
        return search(vectors, *arguments, **options)

    monkeypatch.setattr(store, "search", counted)
    assert [len(hits) for hits in indexed_photos.search_batch(store.sample(5, 1), limit=3)] == [3] * 5
    assert sizes == [5]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"limit": 0}, "limit must be"), ({"ef": 0}, "ef must be"), ({"filter": "labl=x"}, "Nearest: label")],
)
def test_a_wrong_batch_is_one_clear_line(options: dict[str, Any], message: str, indexed_photos: Collection) -> None:
    with pytest.raises(cbir.UsageError, match=message):
        indexed_photos.search_batch(indexed_photos.store.sample(2, 1), **options)
