"""A vector is computed once for the same bytes and the same model."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cbir.pipeline.report import IngestReport
from cbir.pipeline.reuse import find_in
from cbir.pipeline.run import DEFAULT_POLICY, Policy, ingest
from cbir.records import Point
from cbir.settings import Settings
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source
from cbir.stores.registry import open_store
from tests.support.building import both, catalogs, points_of, unit_vectors
from tests.support.ingesting import count_embedded, files, some_images
from tests.support.qdrant_server import qdrant_server

KINDS = ("embedded", "server", "several")


@pytest.fixture
def photos(photo_folder: Path, tmp_path: Path) -> Path:
    """A folder of 12 images that a test may change."""
    return some_images(photo_folder, tmp_path / "photos", 12)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with qdrant_server() as running:
        yield running.url


@pytest.fixture(params=KINDS)
def urls(request: pytest.FixtureRequest, server: str, tmp_path: Path) -> list[str]:
    """The stores of one ingest."""
    local = both(tmp_path / "index")
    return {"embedded": local, "server": [server], "several": [*local, f"faiss:{tmp_path}/other", server]}[
        request.param
    ]


def add(photos: Path, model_file: Path, urls: list[str], name: str, policy: Policy = DEFAULT_POLICY) -> IngestReport:
    source = open_source(str(photos), SourceOptions())
    return ingest(source, catalogs(*urls), model_file, Settings(), name, policy=policy)


def points(url: str, name: str) -> dict[str, Point]:
    """Return the points of a collection by key."""
    with closing(open_store(url, name, Settings())) as store:
        return {str(point.payload["key"]): point for point in store.points()}


def test_an_image_with_stored_bytes_is_not_embedded_again(
    photos: Path, model_file: Path, urls: list[str], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = request.node.callspec.id
    add(photos, model_file, urls, name)
    original, other, changed, *_ = files(photos)
    copy = photos / "copy.png"
    shutil.copyfile(original, copy)
    shutil.copyfile(other, changed)
    Image.new("RGB", (30, 30), "red").save(photos / "new.png")
    embedded = count_embedded(monkeypatch)
    report = add(photos, model_file, urls, name)
    assert (report.stored, report.changed, report.reused, report.unchanged) == (3, 1, 2, 11)
    assert sum(embedded) == 1
    key, as_before = original.relative_to(photos).as_posix(), points(urls[0], name)
    for url in urls:
        found = points(url, name)
        for path, same in ((copy, key), (changed, other.relative_to(photos).as_posix())):
            point = found[path.relative_to(photos).as_posix()]
            assert np.allclose(point.vector, as_before[same].vector, atol=1e-6)
            assert point.thumbnail == as_before[same].thumbnail
        assert found["copy.png"].payload == {**found[key].payload, "key": "copy.png", "label": None}


def test_a_new_store_gets_the_vectors_of_the_others(
    photos: Path, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [f"faiss:{tmp_path}/a?index=Flat", f"faiss:{tmp_path}/b?index=Flat"]
    add(photos, model_file, urls[:1], "photos")
    embedded = count_embedded(monkeypatch)
    report = add(photos, model_file, urls, "photos")
    assert (report.stored, report.reused, embedded) == (12, 12, [])
    first, second = (points(url, "photos") for url in urls)
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
