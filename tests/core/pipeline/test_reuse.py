"""A vector is computed once for the same bytes and the same model."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cbir.pipeline.reuse import find_in, other_collections
from cbir.pipeline.run import Policy
from cbir.records import Point
from tests.support.building import build, catalogs, plan_for, points_of, unit_vectors
from tests.support.ingesting import count_embedded, files, fill, points_by_key, some_images


@pytest.fixture
def photos(photo_folder: Path, tmp_path: Path) -> Path:
    """A folder of 12 images that a test may change."""
    return some_images(photo_folder, tmp_path / "photos", 12)


def test_an_image_with_stored_bytes_is_not_embedded_again(
    photos: Path, model_file: Path, urls: list[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(photos, model_file, urls, name)
    original, other, changed, *_ = files(photos)
    copy = photos / "copy.png"
    shutil.copyfile(original, copy)
    shutil.copyfile(other, changed)
    Image.new("RGB", (30, 30), "red").save(photos / "new.png")
    embedded = count_embedded(monkeypatch)
    report = fill(photos, model_file, urls, name)
    assert (report.stored, report.changed, report.reused, report.unchanged) == (3, 1, 2, 11)
    assert sum(embedded) == 1
    key, as_before = original.relative_to(photos).as_posix(), points_by_key(urls[0], name)
    for url in urls:
        found = points_by_key(url, name)
        for path, same in ((copy, key), (changed, other.relative_to(photos).as_posix())):
            point = found[path.relative_to(photos).as_posix()]
            assert np.allclose(point.vector, as_before[same].vector, atol=1e-6)
            assert point.thumbnail == as_before[same].thumbnail
        assert found["copy.png"].payload == {**found[key].payload, "key": "copy.png", "label": None}


def test_a_new_store_gets_the_vectors_of_the_others(
    photos: Path, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [f"faiss:{tmp_path}/a?index=Flat", f"faiss:{tmp_path}/b?index=Flat"]
    fill(photos, model_file, urls[:1], "photos")
    embedded = count_embedded(monkeypatch)
    report = fill(photos, model_file, urls, "photos")
    assert (report.stored, report.reused, embedded) == (12, 12, [])
    first, second = (points_by_key(url, "photos") for url in urls)
    assert first.keys() == second.keys()
    assert all((first[key].vector == second[key].vector).all() for key in first)


def test_other_collections_of_the_stores_are_asked_if_the_policy_says_so(
    photos: Path, model_file: Path, urls: list[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(photos, model_file, urls, f"{name}-a")
    more = shutil.copytree(photos, photos.parent / "more")
    Image.effect_noise((30, 30), 50).save(more / "new.png")  # no other test has it on the server
    embedded = count_embedded(monkeypatch)
    report = fill(more, model_file, urls, f"{name}-b", Policy(reuse=True))
    assert (report.stored, report.reused, sum(embedded)) == (13, 12, 1)
    for url in urls:
        first, second = (points_by_key(url, f"{name}-{letter}") for letter in "ab")
        assert second.keys() == {*first, "new.png"}
        for key, point in first.items():
            assert np.allclose(second[key].vector, point.vector, atol=1e-6)
            assert (second[key].thumbnail, second[key].payload) == (point.thumbnail, point.payload)
    embedded.clear()
    report = fill(more, model_file, urls, f"{name}-c")
    assert (report.stored, report.reused, sum(embedded)) == (13, 0, 13)


def test_a_damaged_collection_gives_no_vectors_and_only_those_that_are_needed_are_read(
    photos: Path, model_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"faiss:{tmp_path}/index?index=Flat"
    for collection in ("first", "second"):
        fill(photos, model_file, [url], collection)
    log = next(tmp_path.glob("index/first/0*/log/*.log"))
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)
    assert fill(photos, model_file, [url], "second", Policy(reuse=True)).unchanged == 12
    assert not caplog.records
    fill(photos, model_file, [url], "third", Policy(reuse=True))  # from the second
    (warning,) = caplog.records
    assert "no vectors of first are reused: " in warning.getMessage()
    assert "does not hold the 12 points of its manifest" in warning.getMessage()
    shutil.rmtree(tmp_path / "index" / "second")
    shutil.rmtree(tmp_path / "index" / "third")
    report = fill(photos, model_file, [url], "second", Policy(reuse=True))
    assert (report.stored, report.reused) == (12, 0)


def test_only_collections_of_the_same_model_are_asked(tmp_path: Path) -> None:
    vectors = unit_vectors(3)
    build([f"faiss:{tmp_path}/index?index=Flat"], vectors)
    stores, plan = catalogs(f"faiss:{tmp_path}/index"), plan_for(vectors, "other")
    ((ids_with, points),) = other_collections(stores, plan)
    (point, *_) = points_of(vectors)
    assert list(ids_with(str(point.payload["sha256"]))) == [point.id]
    assert list(ids_with("unknown")) == []
    assert points([point.id])[point.id].payload == point.payload
    assert other_collections(stores, replace(plan, model=replace(plan.model, sha256="0" * 64))) == []
    assert other_collections(stores, replace(plan, collection="made")) == [], "the collection itself"


def test_only_a_whole_point_with_these_bytes_is_found() -> None:
    """A journal may be out of date after a crash, and another program may have written to a server."""
    point = points_of(unit_vectors(1))[0]
    sha256 = str(point.payload["sha256"])

    def found(*stored: Point) -> Point | None:
        ids = [str(number) for number in range(len(stored) + 1)]
        by_id = dict(zip(ids, stored, strict=False))
        get = lambda ids: {point_id: by_id[point_id] for point_id in ids if point_id in by_id}  # noqa: E731
        return find_in([(lambda sha256: reversed(ids), get)])(sha256)

    assert found(point) is point
    assert found() is None
    for stale in (
        replace(point, payload={**point.payload, "sha256": "other"}),
        replace(point, vector=np.full_like(point.vector, np.nan)),
        replace(point, vector=point.vector * 2),
        replace(point, thumbnail=b""),
    ):
        assert found(stale) is None
        assert found(point, stale) is point
