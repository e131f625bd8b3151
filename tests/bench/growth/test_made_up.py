"""Images that are made up, and the model and the points that belong to them."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from cbir.bench.core.synthetic import clustered
from cbir.bench.growth.made_up import PART, new_images, payload_of, write_fast_model, write_files, write_table
from cbir.bench.growth.workplace import Workplace

from cbir.models.embedder import Embedder


def test_the_vectors_of_images_have_neighbours_as_far_as_those_of_points(tmp_path: Path) -> None:
    embedder = Embedder(write_fast_model(tmp_path, 64))
    assert embedder.ref.random_weights
    vectors, points = embedder.embed(new_images(200, 1).files), clustered(5000, 64, 2)
    nearest = [np.median((found @ points.T).max(axis=1)) for found in (vectors, clustered(200, 64, 3))]
    assert abs(nearest[0] - nearest[1]) < 0.02
    assert nearest[0] > 0.5


def test_images_are_new_for_each_seed_and_the_same_for_the_same() -> None:
    first, second, again = new_images(3, 1), new_images(3, 2), new_images(3, 1)
    assert first == again
    assert not set(first.files) & set(second.files) and not set(first.keys) & set(second.keys)


def test_as_many_points_as_said_have_the_same_part(place: Workplace) -> None:
    with place.open(place.copy()) as photos:
        assert photos.count() == place.points
        assert photos.count("part=3") == PART
        assert photos.get("305").payload["part"] == payload_of("305", 0, 305)["part"] == 3  # type: ignore[union-attr]


def test_a_folder_has_the_images_by_class(tmp_path: Path) -> None:
    images = new_images(4, 1)
    folder = write_files(tmp_path / "files", images)
    paths = {path.stem: path for path in folder.glob("*/*.png")}
    assert [paths[key].read_bytes() for key in images.keys] == images.files
    assert [paths[key].parent.name for key in images.keys] == [payload["label"] for payload in images.payloads]


def test_a_table_has_the_images_and_their_fields(tmp_path: Path) -> None:
    images = new_images(4, 1)
    rows = pq.read_table(write_table(tmp_path / "rows.parquet", images)).to_pylist()
    assert [row["image"] for row in rows] == images.files
    assert [row["label"] for row in rows] == [payload["label"] for payload in images.payloads]
