"""Synthetic images and vectors, for measurements that need no data set."""

import io
from functools import partial

import numpy as np

from cbir.records import Item, Vector

LATENT = 24
NOISE = 0.5
_CLUSTERS = 1000


def made_up_images(count: int, width: int = 640, height: int = 480) -> list[Item]:
    """Return JPEG images of waves, edges and noise, which take about as long to decode as photos of that size."""
    from PIL import Image

    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
    items = []
    for number in range(count):
        a, b, c = rng.uniform(1, 30, (3, 3)).T  # by colour
        waves = 127 + 50 * np.sin(a * x[..., None] + b * y[..., None]) + 30 * np.sign(np.sin(c * (x - y)[..., None]))
        pixels = waves + rng.normal(0, 6, (height, width, 3))
        buffer = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
        items.append(Item(f"{number}.jpg", partial(bytes, buffer.getvalue()), f"class {number % 10}"))
    return items


def clustered(count: int, dimension: int, seed: int) -> Vector:
    """Return unit vectors, float32 (count, dimension), that are distributed like those of images.

    They lie in clusters of a space of `LATENT` dimensions, with a little noise. Random ones would have no near
    neighbours.
    """
    rng = np.random.default_rng(seed)
    noise = NOISE * rng.standard_normal((count, dimension), np.float32)
    vectors = latent(count, rng) @ rotation(dimension) + noise
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def latent(count: int, rng: np.random.Generator) -> Vector:
    """Return points near the centres of clusters, float32 (count, LATENT)."""
    centres = np.random.default_rng(0).standard_normal((_CLUSTERS, LATENT), np.float32)
    found = centres[rng.integers(_CLUSTERS, size=count)] + 0.7 * rng.standard_normal((count, LATENT), np.float32)
    return np.asarray(found, np.float32)


def rotation(dimension: int) -> Vector:
    """Return the matrix (LATENT, dimension) that takes such points to vectors, up to their length."""
    return np.random.default_rng(1).standard_normal((LATENT, dimension), np.float32)
