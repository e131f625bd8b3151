"""Filling a collection of a `cbir-serve` from another machine: interrupted, resumed, in small requests."""

from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import cbir
from cbir.errors import UsageError
from cbir.progress import silent
from cbir.stores.base import CollectionWriter
from cbir.stores.registry import connect
from tests.support.api import API_KEY, write_images
from tests.support.building import MODEL_FILE, plan_for, points_of, unit_vectors
from tests.support.http_api import running, serving

VECTORS = unit_vectors(90)
PLAN = plan_for(VECTORS)


@pytest.fixture
def settings(tmp_path: Path) -> cbir.Settings:
    """Settings of a client on a machine of its own."""
    return cbir.Settings(api_key=API_KEY, cache=tmp_path / "client")


def served(folder: Path, **limits: int) -> AbstractContextManager[str]:
    """Return a server on a machine of its own."""
    return serving(f"edge:{folder / 'index'}", write_keys=(API_KEY,), cache=folder / "server", **limits)


def writer_of(address: str, settings: cbir.Settings) -> CollectionWriter:
    return connect(f"cbir+{address}", settings).writer(PLAN, MODEL_FILE)


def test_points_survive_a_killed_server_and_the_next_run_finishes(tmp_path: Path, settings: cbir.Settings) -> None:
    arguments, points = ("--store", f"faiss:{tmp_path / 'index'}?index=Flat"), points_of(VECTORS)
    environment = {"CBIR_WRITE_KEYS": API_KEY, "XDG_CACHE_HOME": str(tmp_path / "server")}
    with running(arguments, **environment) as server:
        assert writer_of(server.url, settings).write(points[:60]) == []
        server.process.kill()
        server.process.wait()
    with running(arguments, **environment) as server:
        writer = writer_of(server.url, settings)
        assert writer.resumed == len(writer.stored_ids) == 60
        assert writer.stored_ids.has(points[0].id, points[0].version, None)
        assert not writer.stored_ids.has(points[0].id, "another", "another")
        writer.write(points[60:])
        writer.publish(silent)
        writer.close()
        with cbir.open(f"cbir+{server.url}/made", settings=settings) as made:
            assert made.count() == 90
            assert {point.id: point.version for point in made.store.points()} == {
                point.id: point.version for point in points
            }


def test_requests_are_as_small_as_the_server_wants(tmp_path: Path, settings: cbir.Settings) -> None:
    points = points_of(VECTORS)
    with serving(
        f"edge:{tmp_path / 'index'}", write_keys=(API_KEY,), max_batch=40, cache=tmp_path / "server"
    ) as address:
        writer = writer_of(address, settings)
        assert writer.write(points) == []
        found = writer.points([point.id for point in points])
        assert [found[point.id].thumbnail for point in points] == [point.thumbnail for point in points]
        assert dict(writer.described()).keys() == {point.id for point in points}
        writer.publish(silent)
        writer.close()
        later = writer_of(address, settings)
        assert dict(later.thumbnails()) == {point.payload["key"]: point.thumbnail for point in points}
        later.close()
        assert connect(f"cbir+{address}", settings).open("made").count() == 90


def test_a_model_that_nobody_has_is_one_line(tmp_path: Path, settings: cbir.Settings) -> None:
    with served(tmp_path) as address:
        catalog = connect(f"cbir+{address}", settings)
        with pytest.raises(UsageError, match="has no file of the model made-up"):
            catalog.writer(PLAN, tmp_path / "missing.onnx")


def test_a_source_is_synced_with_a_server_as_with_a_folder(tmp_path: Path, settings: cbir.Settings) -> None:
    folder = write_images(str(tmp_path / "photos"), 6, 1)
    with (
        served(tmp_path) as address,
        cbir.open(f"cbir+{address}", "photos", create=True, settings=settings) as photos,
    ):
        assert photos.sync(folder).stored == 6
        (folder / "c" / "0.png").rename(folder / "c" / "renamed.png")
        (folder / "c" / "1.png").unlink()
        report = photos.sync(folder, policy=cbir.Policy(max_delete=0.5))
        assert (report.stored, report.unchanged, report.removed, len(report.renames)) == (1, 4, 1, 1)
        assert {image.key for image in photos.scroll()} == {f"c/{name}.png" for name in ("renamed", 2, 3, 4, 5)}
