"""A vector is computed once for the same bytes and the same model."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cbir.pipeline.reuse import find_in
from cbir.records import Point
from tests.support.building import points_of, unit_vectors
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
