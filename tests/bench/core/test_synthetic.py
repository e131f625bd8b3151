"""Synthetic images and vectors."""

import io

import numpy as np
from cbir.bench.core.synthetic import clustered, made_up_images
from PIL import Image

from tests.support.building import unit_vectors


def test_images_are_different_jpegs_of_the_size() -> None:
    items = made_up_images(3, 64, 48)
    data = [item.read() for item in items]
    assert len(set(data)) == 3
    assert [made.read() for made in made_up_images(3, 64, 48)] == data, "the same each time"
    for number, content in enumerate(data):
        with Image.open(io.BytesIO(content)) as image:
            assert (image.format, image.size) == ("JPEG", (64, 48))
        assert (items[number].key, items[number].label) == (f"{number}.jpg", f"class {number}")


def test_clustered_vectors_have_near_neighbours() -> None:
    vectors = clustered(2000, 128, 1)
    assert (vectors.dtype, vectors.shape) == (np.float32, (2000, 128))
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)

    def best(vectors: np.ndarray) -> float:
        scores = vectors @ vectors.T
        np.fill_diagonal(scores, -1)
        return float(np.median(scores.max(axis=1)))

    assert best(vectors) > best(unit_vectors(2000, dimension=128)) + 0.2
    assert not np.allclose(vectors, clustered(2000, 128, 2))
    assert np.array_equal(vectors, clustered(2000, 128, 1))
