"""What a collection does not do: mix sources, forget a run, change one store of two, or lose a field in a table."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cbir
from cbir.pipeline.run import Interrupted
from cbir.stores.base import StoreInfo
from cbir.stores.qdrant.store import QdrantStore
from tests.support.qdrant_server import qdrant_server

FLAT = "faiss:./index?index=Flat"


def images(folder: str, count: int, seed: int) -> Path:
    """Write some images, named alike in every folder."""
    rng = np.random.default_rng(seed)
    Path(folder, "c").mkdir(parents=True)
    for number in range(count):
        Image.fromarray(rng.integers(0, 255, (40, 40, 3), np.uint8)).save(Path(folder, "c", f"{number}.png"))
    return Path(folder)


def test_a_second_folder_does_not_take_the_place_of_the_first() -> None:
    first, second = images("first", 3, 1), images("second", 3, 2)
    with cbir.open(FLAT, create=True) as photos:
        photos.add(first)
        for call in (photos.add, photos.sync):
            with pytest.raises(cbir.UsageError, match="was filled from"):
                call(second)
        assert photos.add(first).unchanged == 3
        photos.add([second / "c" / "0.png"], keys=["one more"])
        assert photos.count() == 4
        report = photos.sync(first)
        assert (report.unchanged, report.removed) == (3, 1)


def test_the_same_call_finishes_an_interrupted_run(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = images("photos", 4, 3)
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


def test_an_edit_does_not_publish_what_an_interrupted_run_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    photos = cbir.open(FLAT, create=True)
    photos.add(images("photos", 4, 4))
    more = images("more", 3, 5)
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
    folder = images("photos", 3, 6)
    cbir.open(both[0], create=True).add(folder)
    cbir.open(both[1], "other", create=True).add(folder)
    with pytest.raises(cbir.UsageError, match="has no collection"):
        cbir.open(both).delete(ids=["c/0.png"])
    assert [cbir.open(url).count() for url in both] == [3, 3]


def test_an_edit_on_a_server_moves_no_alias() -> None:
    folder = images("photos", 3, 7)
    with qdrant_server() as server:
        old, new = (cbir.open(server.url, name, create=True) for name in ("old", "new"))
        for photos in (old, new):
            photos.add(folder)
        assert cbir.open(server.url, "photos").info.collection == "new"
        assert old.update({"seen": True}, ids=["c/0.png"]) == 1
        assert old.get("c/0.png").payload["seen"] is True
        assert cbir.open(server.url, "photos").info.collection == "new"


def test_a_damaged_collection_is_not_taken_for_an_empty_one() -> None:
    photos = cbir.open(FLAT, "photos", create=True)
    photos.add(images("photos", 2, 8))
    (manifest,) = Path("index").rglob("manifest.json")
    manifest.write_text("{}")
    with pytest.raises(cbir.DamageError):
        cbir.open(FLAT, "photos", create=True)


def test_hits_are_values_and_keep_their_columns() -> None:
    photos = cbir.open(FLAT, create=True)
    files = sorted(images("photos", 2, 9).rglob("*.png"))
    photos.add(files, keys=["a", "b"], payloads=[{"id": 102, "score": 7, "label": 5}, {}])
    hits = photos.search(files[0], limit=2)
    table = hits.to_pandas().set_index("key")
    assert table.loc["a", "id"] == hits[0].id
    assert table.loc["a", "score"] == hits[0].score
    assert (table.loc["a", "id_"], table.loc["a", "score_"], hits[0].label) == (102, 7, "5")
    assert "5" in hits._repr_html_()
    assert len({*hits, *hits}) == 2
    assert pickle.loads(pickle.dumps(hits[0])) == hits[0]  # noqa: S301  ours


@pytest.mark.parametrize("text", ["x" * 300, "~nobody-here/x.png", "a\0b"])
def test_a_text_that_can_be_no_path_is_a_wrong_query(text: str) -> None:
    photos = cbir.open(FLAT, create=True)
    photos.add(images("photos", 1, 10))
    with pytest.raises(cbir.UsageError, match="is not a file"):
        photos.search(text)


def test_paths_of_unknown_users_are_refused() -> None:
    for call in (lambda: cbir.open("~nobody-here/x"), lambda: cbir.open(FLAT, create=True).add("~nobody-here/x")):
        with pytest.raises(cbir.UsageError, match="nobody-here"):
            call()


def test_an_image_of_an_unknown_user_is_skipped() -> None:
    report = cbir.open(FLAT, create=True).add(["~nobody-here/x.png", images("photos", 1, 10) / "c/0.png"])
    assert (report.stored, [failure["key"] for failure in report.failures]) == (1, ["~nobody-here/x.png"])


def test_one_server_is_not_named_twice() -> None:
    with pytest.raises(cbir.UsageError, match="the same store twice"):
        cbir.open(["http://localhost:6333", "http://localhost:6333/"], create=True)


def test_a_search_does_not_count_the_points_of_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = images("photos", 2, 11)
    with qdrant_server() as server:
        photos = cbir.open(server.url, create=True)
        photos.add(folder)
        vector = photos.embed(folder / "c" / "0.png")

        def counted(store: QdrantStore) -> StoreInfo:
            raise AssertionError("the points were counted")

        monkeypatch.setattr(QdrantStore, "info", property(counted))
        for query in (folder / "c" / "0.png", vector, "c/0.png"):
            assert len(photos.search(query)) in (1, 2)
