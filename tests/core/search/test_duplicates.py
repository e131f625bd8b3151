"""Copies of images: the same bytes, and the same look."""

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn

from cbir.records import Point
from cbir.search.duplicates import groups, perceptual_hash
from tests.support.building import points_of, unit_vectors
from tests.support.examples import SampleImages


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def differing_bits(first: bytes, second: bytes) -> int:
    return int(np.unpackbits(perceptual_hash(first) ^ perceptual_hash(second)).sum())


@pytest.fixture(scope="module")
def images(sample_images: SampleImages) -> list[Image.Image]:
    return [Image.open(io.BytesIO(data)).convert("RGB") for _, _, data in sample_images[::75]]


def points_with(contents: Sequence[str], thumbnails: Sequence[bytes]) -> list[Point]:
    made = points_of(unit_vectors(len(contents)))
    return [
        replace(point, payload={**point.payload, "sha256": content}, thumbnail=thumbnail)
        for point, content, thumbnail in zip(made, contents, thumbnails, strict=True)
    ]


def test_the_same_bytes_are_copies(images: list[Image.Image]) -> None:
    thumbnails = [jpeg(images[0])] * 5  # not looked at without a number of bits
    assert groups(points_with(["b", "a", "b", "c", "a"], thumbnails), None) == [["0", "2"], ["1", "4"]]
    assert groups(points_with(["a", "b"], thumbnails[:2]), None) == []
    assert groups([], 4) == []


def test_the_same_look_is_a_copy_too_and_copies_of_copies_are(images: list[Image.Image]) -> None:
    plain, small, other = jpeg(images[0]), jpeg(images[0].resize((60, 60)), 40), jpeg(images[1])
    assert 0 < differing_bits(plain, small) <= 8 < differing_bits(plain, other)
    points = points_with(["a", "b", "c", "c"], [plain, small, other, plain])
    differing = differing_bits(plain, small)
    assert groups(points[:3], differing - 1) == []
    assert groups(points[:3], differing) == [["0", "1"]]
    assert groups(points, 8) == [["0", "1", "2", "3"]]  # 2 and 3 have the same bytes, 3 looks like 0


@pytest.mark.parametrize("seed", range(3))
def test_the_hash_has_the_lowest_frequencies_above_their_median(seed: int) -> None:
    """Noise is compared with SciPy's transform. Most of its light changes from left to right."""
    noise = np.random.default_rng(seed).integers(0, 120, (128, 128)) + np.arange(128)
    file = jpeg(Image.fromarray(noise.astype(np.uint8)), 95)
    grey = np.asarray(Image.open(io.BytesIO(file)).convert("L").resize((32, 32), Image.Resampling.BILINEAR), float)
    low = dctn(grey)[:8, :8].ravel()
    expected = low > np.median(low) + 0.01 * abs(low[1])
    assert abs(low[1]) == abs(low[1:]).max()
    assert np.unpackbits(perceptual_hash(file)).tolist() == expected.tolist()


def test_different_images_have_different_hashes(images: list[Image.Image]) -> None:
    files = [jpeg(image) for image in images]
    assert min(differing_bits(first, other) for i, first in enumerate(files) for other in files[:i]) > 8
