"""Filling and changing a collection: what is added goes to every store, and what a collection refuses."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from PIL import Image

import cbir
from cbir.collection import Collection
from cbir.models.sealed import checksum_of
from cbir.models.text_tower import TextTower
from cbir.pipeline.run import Interrupted
from cbir.stores.registry import connect
from tests.support.api import (
    API_KEY,
    CATEGORIES,
    FLAT,
    PER_CATEGORY,
    PRIVATE,
    Call,
    Filled,
    assert_refused,
    opened,
    write_images,
)
from tests.support.examples import copy_folder
from tests.support.http_api import serving
from tests.support.onnx_file import cast, node, write_model
from tests.support.qdrant_server import qdrant_server
from tests.support.text_file import text_card, write_tower

IMAGE = Image.new("RGB", (4, 4))


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


def test_images_are_changed_removed_and_dropped(filled: Filled, query_file: Path) -> None:
    data = query_file.read_bytes()
    names = [found.collection for found in cbir.collections(filled.url, settings=PRIVATE)]
    with (
        cbir.open(filled.url, "changing", create=True, settings=PRIVATE) as photos,
        cbir.open(filled.url, "changing", create=True, settings=PRIVATE) as follower,
    ):
        assert re.fullmatch(r"<cbir\.Collection changing in [\w+]+:\S+>", repr(photos))
        report = photos.add(
            [data, query_file, opened(data), data], payloads=[{"label": "Flag", "n": n} for n in range(4)]
        )
        assert report.stored == 3  # the same bytes without a key are the same image
        assert follower.count() == 3
        assert len(photos.duplicates()) == 1
        assert len(photos.duplicates()[0]) == 2
        assert len(photos.duplicates(near=4)[0]) == 3

        assert photos.update({"label": "Banner", "n": None, "price": np.float32(2.5)}, filter="label=Flag and n<2") == 2
        assert follower.facet("label") == [("Banner", 2), ("Flag", 1)]
        assert follower.count("n=") == 2
        assert follower.count("price>2") == 2
        assert photos.update({"seen": True}, ids=[str(query_file), "nothing"]) == 1
        assert follower.get(str(query_file)).payload["seen"] is True  # type: ignore[union-attr]

        assert photos.update({"label": 7, "n": 7}, filter="label=Flag") == 1
        assert [(image.label, image.payload["n"]) for image in follower.scroll("n=7")] == [("7", 7)]
        assert "<br>" in follower.search(query_file)._repr_html_()
        assert photos.update({"label": "Flag", "n": 2}, filter="label=7") == 1

        assert photos.delete(ids=["nothing"]) == 0
        assert photos.delete(ids=[str(query_file)], filter="label=Flag") == 2
        assert [image.label for image in follower.scroll()] == ["Banner"]
        assert follower.vectors().shape == (1, 1280)
        assert follower.search(query_file)[0].label == "Banner"
        assert {found.collection for found in cbir.collections(filled.url, settings=PRIVATE)} == {*names, "changing"}
    cbir.drop(filled.url, "changing", settings=PRIVATE)
    assert [found.collection for found in cbir.collections(filled.url, settings=PRIVATE)] == names
    with pytest.raises(cbir.UsageError, match="changing"):
        cbir.open(filled.url, "changing", settings=PRIVATE)


def test_what_is_added_goes_to_every_store(filled_stores: dict[str, Filled], tmp_path: Path, query_file: Path) -> None:
    urls = [f"edge:{tmp_path}/index", f"faiss:{tmp_path}/index/faiss", filled_stores["server"].url]
    with cbir.open(urls, "several", create=True) as photos:
        photos.add([query_file], keys=["first"])
        assert photos.verify() == []
    for url in urls:
        with cbir.open(url, "several") as photos:
            assert [hit.key for hit in photos.search(query_file)] == ["first"]
    with cbir.open(urls[2], "several") as photos, pytest.raises(cbir.UsageError, match="verifies its own storage"):
        photos.verify()
    cbir.drop(filled_stores["server"].url, "several")


def test_a_second_folder_does_not_take_the_place_of_the_first() -> None:
    first, second = write_images("first", 3, 1), write_images("second", 3, 2)
    with cbir.open(FLAT, create=True) as photos:
        photos.add(first)
        for call in (photos.add, photos.sync):
            with pytest.raises(cbir.UsageError, match="was filled from"):
                call(second)
        assert photos.add(first).unchanged == 3
        photos.add([second / "c" / "0.png"], keys=["another"])
        assert photos.count() == 4
        report = photos.sync(first, policy=cbir.Policy(max_delete=0.25))
        assert (report.unchanged, report.removed) == (3, 1)


def test_the_same_call_finishes_an_interrupted_run(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_images("photos", 4, 3)
    photos = cbir.open(FLAT, create=True)
    with monkeypatch.context() as patch:

        def stop(*arguments: object) -> None:
            raise KeyboardInterrupt

        patch.setattr("cbir.pipeline.run.publish_all", stop)
        with pytest.raises(Interrupted) as stopped:
            photos.add(list(folder.rglob("*.png")))
    assert stopped.value.report.stored == 4
    assert photos.add(list(folder.rglob("*.png"))).unchanged == 4
    assert photos.count() == 4


def test_what_an_interrupted_first_run_has_published_can_be_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = sorted(write_images("photos", 4, 3).rglob("*.png"))

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cbir.pipeline.writers._FLUSH_SECONDS", 0.0)
    monkeypatch.setattr("cbir.pipeline.run.publish_all", stop)
    photos = cbir.open(FLAT, create=True)
    with pytest.raises(Interrupted):
        photos.add(paths, policy=cbir.Policy(publish_every=0.0))
    batched = cbir.open("faiss:./batched?index=Flat", create=True)
    with pytest.raises(Interrupted), batched.batch():
        batched.add(paths)
    for collection in (photos, batched):
        assert (collection.count(), len(collection.search(paths[0]))) == (4, 4)
        with pytest.raises(Interrupted) as stopped:
            collection.add(paths)
        assert stopped.value.report.unchanged == 4


def test_an_edit_does_not_publish_what_an_interrupted_run_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    photos = cbir.open(FLAT, create=True)
    photos.add(write_images("photos", 4, 4))
    more = write_images("more", 3, 5)
    with monkeypatch.context() as patch:

        def stop(*arguments: object) -> None:
            raise KeyboardInterrupt

        patch.setattr("cbir.pipeline.run.publish_all", stop)
        with pytest.raises(Interrupted):
            photos.add(sorted(more.rglob("*.png")), keys=["x", "y", "z"])
    with pytest.raises(cbir.CbirError, match="unfinished ingest"):
        photos.delete(ids=["c/0.png"])
    assert photos.count() == 4


def test_no_store_is_changed_unless_all_can_be() -> None:
    both = ["faiss:./one?index=Flat", "faiss:./two?index=Flat"]
    folder = write_images("photos", 3, 6)
    cbir.open(both[0], create=True).add(folder)
    cbir.open(both[1], "other", create=True).add(folder)
    with pytest.raises(cbir.UsageError, match="has no collection"):
        cbir.open(both).delete(ids=["c/0.png"])
    assert [cbir.open(url).count() for url in both] == [3, 3]


def test_an_edit_on_a_server_moves_no_alias() -> None:
    folder = write_images("photos", 3, 7)
    with qdrant_server() as server:
        old, new = (cbir.open(server.url, name, create=True) for name in ("old", "new"))
        for photos in (old, new):
            photos.add(folder)
        assert cbir.open(server.url, "photos").info.collection == "new"
        assert old.update({"seen": True}, ids=["c/0.png"]) == 1
        assert old.get("c/0.png").payload["seen"] is True
        assert cbir.open(server.url, "photos").info.collection == "new"


def test_a_batch_completes_a_collection_on_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [np.full((20, 20, 3), shade, np.uint8) for shade in (0, 200)]

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    with qdrant_server() as server:
        old, new = (cbir.open(server.url, name, create=True) for name in ("old", "new"))
        with old.batch():
            old.add(images[:1], keys=["a"], dataset="photos")
        assert cbir.open(server.url, "photos").info.collection == "old"
        with monkeypatch.context() as patch:
            patch.setattr("cbir.pipeline.run.publish_all", stop)
            with pytest.raises(Interrupted), new.batch():
                new.add(images, keys=["a", "b"], dataset="photos")
        assert cbir.open(server.url, "photos").info.collection == "old", "an interrupted run completes nothing"
        with new.batch():
            assert new.add(images, keys=["a", "b"], dataset="photos").unchanged == 2
        assert cbir.open(server.url, "photos").info.collection == "new"
        with old.batch():
            assert old.update({"seen": True}, ids=["a"]) == 1
        assert old.get("a").payload["seen"] is True
        assert cbir.open(server.url, "photos").info.collection == "new", "an edit moves no alias"


def test_paths_of_unknown_users_are_refused() -> None:
    for call in (lambda: cbir.open("~nobody-here/x"), lambda: cbir.open(FLAT, create=True).add("~nobody-here/x")):
        with pytest.raises(cbir.UsageError, match="nobody-here"):
            call()


def test_an_image_of_an_unknown_user_is_skipped() -> None:
    report = cbir.open(FLAT, create=True).add(["~nobody-here/x.png", write_images("photos", 1, 10) / "c/0.png"])
    assert (report.stored, [failure["key"] for failure in report.failures]) == (1, ["~nobody-here/x.png"])


def test_a_thread_adds_while_others_search(example_folder: Path, tmp_path: Path) -> None:
    copy_folder(example_folder, tmp_path)
    counts: list[int] = []
    with cbir.open("./index") as photos, cbir.open("./index") as follower:
        thread = Thread(target=lambda: counts.append(photos.add(_food()).stored))
        thread.start()
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: follower.search("query.png", limit=1)[0].key, range(40)))
        thread.join()
        assert set(found) == {"1F600"}
        assert counts == [3]
        assert follower.count() == photos.count() == 303
        assert follower.search(_food()[0], limit=1)[0].score == pytest.approx(1, abs=0.001)


def _food() -> list[str]:
    return sorted(str(path) for path in Path("photos/food").iterdir())


USAGE: dict[str, tuple[Call, str]] = {
    "add a wrong path": (lambda photos: photos.add("./missing"), "missing does not exist. A source is a folder"),
    "add an empty folder": (lambda photos: photos.add("./empty"), "empty has no image file"),
    "add nothing": (lambda photos: photos.add([]), "no images were given"),
    "add one image": (
        lambda photos: photos.add(IMAGE),
        r"a list of images is needed, .*\[image\]",
    ),
    "add one array": (lambda photos: photos.add(np.zeros((4, 4, 3), np.uint8)), "a list of images is needed"),
    "add the bytes of one image": (lambda photos: photos.add(b"\x89PNG"), "a list of images is needed"),
    "add what is no image": (lambda photos: photos.add([object()]), "object is not an image. Use a path, bytes"),
    "add keys of another length": (
        lambda photos: photos.add([IMAGE], keys=["a", "b"]),
        "There are 1 images and 2 keys. Give one",
    ),
    "add payloads of another length": (lambda photos: photos.add([IMAGE], payloads=[]), "1 images and 0 payloads"),
    "add a folder with keys": (lambda photos: photos.add("./photos", keys=["a"]), "keys and payloads go with a list"),
    "sync with another source": (lambda photos: photos.sync("./photos"), "was filled from python, not from"),
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
}


@pytest.mark.parametrize("name", USAGE)
def test_a_wrong_call_is_one_clear_line(name: str, example_photos: Collection) -> None:
    call, message = USAGE[name]
    assert_refused(lambda: call(example_photos), cbir.UsageError, message)


def test_images_that_cannot_be_added_are_named_and_the_rest_is_stored(example_photos: Collection) -> None:
    with cbir.open("./some", create=True) as some:
        report = some.add(["broken.jpg", "no.jpg", b"", "query.png", IMAGE], keys=["a", "b", "c", "same", "same"])
        assert (report.read, report.stored, report.skipped) == (5, 1, 4)
        reasons = {failure["key"]: failure["reason"] for failure in report.failures}
        assert reasons.keys() == {"a", "b", "c", "same"}
        assert "not an image of a known format" in reasons["a"]
        assert "No such file" in reasons["b"]
        assert "another image of this run has the same key" in reasons["same"]
        assert some.count() == 1


@pytest.fixture(params=["edge", "api"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty store on this machine, and the same on a `cbir-serve`; or on request a Qdrant server."""
    url = f"edge:{tmp_path}/index"
    if request.param == "edge":
        yield url
    elif request.param == "server":
        with qdrant_server() as server:
            yield server.url
    else:
        with serving(url, write_keys=(API_KEY,), cache=tmp_path / "cache") as address:
            yield f"cbir+{address}"


def test_a_batch_is_published_as_a_whole_when_it_ends(place: str, query_file: Path) -> None:
    image = np.zeros((20, 20, 3), np.uint8)
    with cbir.open(place, create=True, settings=PRIVATE) as new, new.batch():
        new.add([query_file], keys=["a"])
        new.add([image, image], keys=["b", "c"])
        assert not cbir.collections(place, settings=PRIVATE)[0].points
    with cbir.open(place, settings=PRIVATE) as photos, cbir.open(place, settings=PRIVATE) as follower:
        commit = photos.info.commit
        with photos.batch():
            photos.add([image + 1], keys=["d"], payloads=[{"label": "new"}])
            photos.update({"label": "old"}, ids=["a"])
            assert photos.delete(ids=["b"]) == 1
            assert (photos.count(), follower.count()) == (3, 3)
            with pytest.raises(cbir.UsageError, match="a batch is open already"), photos.batch():
                pass
        for opened in (photos, follower):
            assert sorted(image.key for image in opened.scroll()) == ["a", "c", "d"]
            assert opened.facet("label") == [("new", 1), ("old", 1)]
        assert photos.info.commit == commit + 1
        with pytest.raises(KeyError), photos.batch():
            photos.add([image + 2], keys=["e"])
            raise KeyError
        assert follower.count() == 4, "what was changed before an error is published"
        if photos.info.url.startswith("edge"):
            assert photos.verify() == []


@pytest.mark.parametrize("place", ["edge", "api", "server"], indirect=True)
def test_changes_in_a_batch_build_on_each_other(place: str) -> None:
    old, new = (np.full((20, 20, 3), shade, np.uint8) for shade in (0, 200))
    with cbir.open(place, create=True, settings=PRIVATE) as photos:
        photos.add([old, old + 1], keys=["a", "b"], payloads=[{"label": "1"}, {"label": "1"}])
        with photos.batch():
            photos.delete(ids=["a"])
            photos.add([old], keys=["a"], payloads=[{"label": "1"}])
            photos.add([new], keys=["b"], payloads=[{"label": "2"}])
            photos.add([old + 1], keys=["b"], payloads=[{"label": "1"}])
        assert {image.key: image.label for image in photos.scroll()} == {"a": "1", "b": "1"}
        (hit,) = photos.search(old + 1, limit=1)
        assert (hit.key, round(hit.score, 3)) == ("b", 1.0)


@pytest.mark.parametrize("place", ["edge", "api", "server"], indirect=True)
def test_a_new_collection_has_no_failures_of_a_dropped_one(place: str) -> None:
    for _ in range(2):
        with cbir.open(place, "again", create=True, settings=PRIVATE) as photos:
            report = photos.add([np.zeros((20, 20, 3), np.uint8), b"broken"], keys=["a", "b"])
        assert (report.stored, report.skipped, report.remembered) == (1, 1, 0)
        journal = connect(place, PRIVATE).journal("again")
        assert journal.is_file()
        cbir.drop(place, "again", settings=PRIVATE)
        assert list(journal.parent.glob(f"{journal.name}*")) == []


def test_threads_that_change_a_collection_wait_for_each_other(place: str) -> None:
    with cbir.open(place, create=True, settings=PRIVATE) as photos:
        photos.add([np.zeros((20, 20, 3), np.uint8)], keys=["first"])

        def add(number: int) -> int:
            return photos.add([np.full((20, 20, 3), number, np.uint8)], keys=[str(number)]).stored

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(add, range(8))) == 8
        assert photos.count() == 9


@pytest.fixture
def made_model(tmp_path: Path) -> Path:
    """A small image model."""
    (tmp_path / "model").mkdir()
    nodes = [cast("images", "floats"), node("Flatten", "floats", "flat"), node("LpNormalization", "flat", "embeddings")]
    return write_model(tmp_path / "model" / "made.onnx", nodes)


def test_a_collection_keeps_the_text_tower_of_its_model(made_model: Path, place: str, tmp_path: Path) -> None:
    """The files from which it was made may be moved, and a server gives its own away."""
    tower = write_tower(made_model.with_name("made-text.onnx"), text_card((checksum_of(made_model.read_bytes()),)))
    folder = write_images("photos", 5, 3)
    with cbir.open(place, create=True, model=made_model, settings=PRIVATE) as photos:
        assert photos.add(folder).stored == 5
    expected = TextTower(tower).embed(["a red", "a blue"])
    tower.unlink()
    made_model.unlink()
    elsewhere = cbir.Settings(api_key=API_KEY, cache=tmp_path / "elsewhere")
    with cbir.open(place, settings=elsewhere) as photos:
        assert len(photos.search(text="red heart", limit=3)) == 3
        found = photos.classify(["red", "blue"])
        for image, vector in zip(found, photos.vectors(), strict=True):
            best = int((expected @ vector).argmax())
            assert image.label == ("red", "blue")[best]
            share = np.exp(10 * expected @ vector)  # the scale in the card
            assert image.score == pytest.approx(float(share[best] / share.sum()), abs=1e-4)


def test_a_collection_without_a_text_tower_takes_that_of_the_settings(made_model: Path, tmp_path: Path) -> None:
    folder = write_images("photos", 5, 3)
    with cbir.open(tmp_path / "index", create=True, model=made_model) as photos:
        assert photos.add(folder).stored == 5
    tower = write_tower(tmp_path / "tower.onnx", text_card((checksum_of(made_model.read_bytes()),)))
    foreign = write_tower(tmp_path / "foreign.onnx", text_card(("0" * 64,)))
    with cbir.open(tmp_path / "index") as photos:
        for call in (lambda: photos.search(text="red"), lambda: photos.classify(["red", "blue"])):
            assert_refused(call, cbir.UsageError, "^made has no text tower.* such as efficientnet_lite0")
        assert len(photos.search(folder / "c" / "0.png", limit=2)) == 2
        with cbir.open(tmp_path / "index", settings=cbir.Settings(text_model=tower)) as with_tower:
            assert len(with_tower.search(text="red heart", limit=2)) == 2
            assert with_tower.embedder is not photos.embedder
        with cbir.open(tmp_path / "index", settings=cbir.Settings(text_model=foreign)) as with_foreign:
            assert_refused(
                lambda: with_foreign.search(text="red"),
                cbir.UsageError,
                "foreign.onnx does not belong to the model made, but to another one",
            )
