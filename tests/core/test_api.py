"""The Python API on each kind of store: what it says, and that all stores say the same."""

import io
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cbir
from tests.support.examples import SampleImages
from tests.support.qdrant_server import qdrant_server
from tests.support.web_server import answer, serve

KINDS = ("edge", "faiss", "server")
CATEGORIES = ("Animals & Nature", "Flags", "Food & Drink")
PER_CATEGORY = 8
NEW = ("new/path", "new/bytes", "new/pil", "new/array")
PRIVATE = cbir.Settings(allow_private_addresses=True)


class Filled:
    """A collection with the images of a folder and those of a list, and what was reported."""

    def __init__(self, url: str, folder: Path, images: list[Any]):
        self.url = url
        self.photos = cbir.open(url, create=True, settings=PRIVATE)
        assert self.photos.count() == 0
        assert self.photos.fields() == {}
        payloads = [{"label": "New", "year": 2010 + number, "tags": ["a", "b"][: number % 3]} for number in range(4)]
        add = partial(self.photos.add, images, keys=NEW, payloads=payloads)
        self.reports = [self.photos.add(folder), add(), self.photos.add(str(folder)), add()]


@pytest.fixture(scope="module")
def folder(sample_images: SampleImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("api") / "emoji"
    for category in CATEGORIES:
        (root / category).mkdir(parents=True)
        for key, _, data in [image for image in sample_images if image[1] == category][:PER_CATEGORY]:
            (root / category / f"{key}.png").write_bytes(data)
    return root


@pytest.fixture(scope="module")
def query(folder: Path) -> Path:
    """A file that is in the collection."""
    return sorted((folder / "Flags").iterdir())[0]


@pytest.fixture(scope="module")
def stores(
    folder: Path, sample_images: SampleImages, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Filled]]:
    root = tmp_path_factory.mktemp("stores")
    path, data, pil, array = [data for _, label, data in sample_images if label == "Symbols"][:4]
    (root / "path.png").write_bytes(path)
    images = [root / "path.png", data, opened(pil), np.asarray(opened(array))]
    with qdrant_server() as server:
        urls = {"edge": f"{root / 'edge'}", "faiss": f"faiss:{root / 'faiss'}", "server": server.url}
        yield {kind: Filled(url, folder, images) for kind, url in urls.items()}


@pytest.fixture(params=KINDS)
def filled(request: pytest.FixtureRequest, stores: dict[str, Filled]) -> Filled:
    return stores[request.param]


@pytest.fixture
def photos(filled: Filled) -> cbir.Collection:
    return filled.photos


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def key_of(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def test_adding_is_reported_and_adding_again_embeds_nothing(filled: Filled) -> None:
    first, second, again, list_again = filled.reports
    count = len(CATEGORIES) * PER_CATEGORY
    assert (first.read, first.stored, first.skipped) == (count, count, 0)
    assert (second.read, second.stored) == (4, 4)
    assert (again.read, again.stored, again.unchanged) == (count, 0, count)
    assert (list_again.read, list_again.stored, list_again.unchanged) == (4, 0, 4)
    assert {report.collection for report in filled.reports} == {filled.photos.info.collection}
    assert filled.photos.count() == count + 4
    assert filled.photos.info.dataset == "emoji"


FORMS: dict[str, Callable[[cbir.Collection, Path], Any]] = {
    "path": lambda photos, path: path,
    "text": lambda photos, path: str(path),
    "bytes": lambda photos, path: path.read_bytes(),
    "PIL image": lambda photos, path: Image.open(path),
    "array": lambda photos, path: np.asarray(opened(path.read_bytes())),
    "vector": lambda photos, path: 3 * photos.embed(path).astype(np.float64),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_image_finds_itself_in_any_form(form: str, photos: cbir.Collection, query: Path) -> None:
    hits = photos.search(FORMS[form](photos, query), limit=3)
    assert hits[0].key == key_of(query)
    assert hits[0].score == pytest.approx(1, abs=0.001)
    assert 1.001 > hits[0].score > hits[1].score >= hits[2].score


def test_a_url_is_fetched_where_private_addresses_are_allowed(filled: Filled, query: Path) -> None:
    with serve() as site:
        site.pages["/a.png"] = partial(answer, body=query.read_bytes())
        assert filled.photos.search(f"{site.url}/a.png", limit=1)[0].key == key_of(query)
        with pytest.raises(cbir.CbirError, match="private|address"), cbir.open(filled.url) as careful:
            careful.search(f"{site.url}/a.png")
        with pytest.raises(cbir.CbirError, match="404"):
            filled.photos.search(f"{site.url}/b.png")


def test_a_stored_image_finds_others(photos: cbir.Collection, query: Path) -> None:
    stored = photos.get(key_of(query))
    assert stored is not None
    by_key = photos.search(stored.key, limit=4)
    assert stored.key not in [hit.key for hit in by_key]
    for example in (stored.id, stored, photos.search(query, limit=1)[0]):
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
    "diverse": {"like": "new/path", "diversity": 0.5, "limit": 6},
    "grouped": {"like": "new/path", "group_by": "label", "group_size": 2, "limit": 3},
    "good ones": {"like": "new/path", "min_score": 0.3},
    "second page": {"like": "new/path", "limit": 7, "offset": 7},
    "exact": {"like": "new/path", "exact": True, "limit": 28},
    "thorough": {"like": "new/path", "ef": 100, "nprobe": 10, "limit": 28},
}


@pytest.mark.parametrize("name", QUERIES)
def test_all_stores_find_the_same(name: str, stores: dict[str, Filled]) -> None:
    found = {kind: stores[kind].photos.search(**QUERIES[name]) for kind in KINDS}
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


def test_filters_scores_groups_and_pages(photos: cbir.Collection, query: Path) -> None:
    everything = photos.search(query, limit=100, exact=True)
    assert len(everything) == photos.count()
    flags = photos.search(query, limit=100, filter="label=Flags")
    assert [hit.key for hit in flags] == [hit.key for hit in everything if hit.label == "Flags"]
    good = photos.search(query, limit=100, min_score=everything[9].score - 0.0001)
    assert good == everything[:10]
    pages = [photos.search(query, limit=6, offset=offset) for offset in range(0, len(everything) + 6, 6)]
    assert [hit for page in pages for hit in page] == list(everything)
    assert len(pages[-1]) == 0
    groups = photos.search(query, limit=10, group_by="label", group_size=2).groups
    assert {group.value for group in groups} == {*CATEGORIES, "New"}
    assert groups[0].value == "Flags"
    assert all(group.hits == [hit for hit in everything if hit.label == group.value][:2] for group in groups)
    diverse = photos.search(query, limit=8, diversity=0.7)
    assert diverse[0] == everything[0]
    assert {hit.key for hit in diverse} != {hit.key for hit in everything[:8]}
    assert set(diverse.milliseconds) >= {"decode", "model", "store"}


def test_what_is_stored_can_be_asked_for(photos: cbir.Collection, folder: Path) -> None:
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
    files = {key_of(path) for path in folder.rglob("*.png")}
    everything = list(photos.scroll())
    assert {image.key for image in everything} == files | set(NEW)
    assert [image.id for image in everything] == sorted(image.id for image in everything)
    assert {image.key for image in photos.scroll("label=New")} == set(NEW)


def test_vectors_are_in_the_order_of_scroll_and_read_only(photos: cbir.Collection, stores: dict[str, Filled]) -> None:
    vectors = photos.vectors()
    assert (vectors.shape, vectors.dtype) == ((photos.count(), 1280), np.float32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)
    assert isinstance(vectors, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        vectors[0, 0] = 1
    assert np.allclose(vectors, stores["edge"].photos.vectors(), atol=1e-3)
    row = [image.key for image in photos.scroll()].index("new/path")
    hits = photos.search("new/path", limit=100, exact=True)
    scores = vectors @ vectors[row]
    keys = [image.key for image in photos.scroll()]
    assert [keys[index] for index in np.argsort(-scores) if index != row] == [hit.key for hit in hits]


def test_a_password_is_shown_nowhere(stores: dict[str, Filled]) -> None:
    guarded = stores["server"].url.replace("//", "//ann:secret@")
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


def test_images_are_changed_removed_and_dropped(filled: Filled, query: Path) -> None:
    data = query.read_bytes()
    names = [found.collection for found in cbir.collections(filled.url)]
    with (
        cbir.open(filled.url, "changing", create=True) as photos,
        cbir.open(filled.url, "changing", create=True) as follower,
    ):
        assert re.fullmatch(r"<cbir\.Collection changing in \w+:\S+>", repr(photos))
        report = photos.add([data, query, opened(data), data], payloads=[{"label": "Flag", "n": n} for n in range(4)])
        assert report.stored == 3  # the same bytes without a key are the same image
        assert follower.count() == 3
        assert len(photos.duplicates()) == 1
        assert len(photos.duplicates()[0]) == 2
        assert len(photos.duplicates(near=4)[0]) == 3

        assert photos.update({"label": "Banner", "n": None, "price": np.float32(2.5)}, filter="label=Flag and n<2") == 2
        assert follower.facet("label") == [("Banner", 2), ("Flag", 1)]
        assert follower.count("n=") == 2
        assert follower.count("price>2") == 2
        assert photos.update({"seen": True}, ids=[str(query), "nothing"]) == 1
        assert follower.get(str(query)).payload["seen"] is True  # type: ignore[union-attr]

        assert photos.delete(ids=["nothing"]) == 0
        assert photos.delete(ids=[str(query)], filter="label=Flag") == 2
        assert [image.label for image in follower.scroll()] == ["Banner"]
        assert follower.vectors().shape == (1, 1280)
        assert follower.search(query)[0].label == "Banner"
        assert {found.collection for found in cbir.collections(filled.url)} == {*names, "changing"}
    cbir.drop(filled.url, "changing")
    assert [found.collection for found in cbir.collections(filled.url)] == names
    with pytest.raises(cbir.UsageError, match="changing"):
        cbir.open(filled.url, "changing")


def test_what_is_added_goes_to_every_store(stores: dict[str, Filled], tmp_path: Path, query: Path) -> None:
    urls = [f"edge:{tmp_path}/index", f"faiss:{tmp_path}/index/faiss", stores["server"].url]
    with cbir.open(urls, "several", create=True) as photos:
        photos.add([query], keys=["one"])
        assert photos.verify() == []
    for url in urls:
        with cbir.open(url, "several") as photos:
            assert [hit.key for hit in photos.search(query)] == ["one"]
    with cbir.open(urls[2], "several") as photos, pytest.raises(cbir.UsageError, match="verifies its own storage"):
        photos.verify()
    cbir.drop(stores["server"].url, "several")
