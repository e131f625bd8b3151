"""Both libraries resize alike, whatever the sizes, and in the order of passes that Pillow 12 had."""

import math
import sys
from collections.abc import Iterator
from typing import get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from cbir.images import resize as module
from cbir.images.decode import decode
from cbir.images.preprocessing import CropMode, InputRule
from cbir.images.resize import Interpolation, resize, shrink
from cbir.models.embedder import Embedder
from tests.support.examples import SampleImages
from tests.support.golden_image import golden_image

needs_fast = pytest.mark.skipif(module.fast is None, reason="cykooz-resizer is not installed")
FAST = module.fast
SIDES = st.integers(1, 40) | st.integers(1, 700) | st.integers(200, 260) | st.integers(700, 3000)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """The hardest image: the values between the two passes are clipped."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def largest_difference(image: Image.Image, other: Image.Image) -> int:
    assert image.size == other.size
    return int(np.abs(np.asarray(image, np.int16) - np.asarray(other, np.int16)).max())


@pytest.fixture(params=["fast", "pillow"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "fast" and FAST is None:
        pytest.skip("cykooz-resizer is not installed")
    monkeypatch.setattr(module, "fast", FAST if request.param == "fast" else None)
    return request.param


@needs_fast
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    width=SIDES,
    height=SIDES,
    interpolation=st.sampled_from(get_args(Interpolation)),
    crop=st.sampled_from(get_args(CropMode)),
    resized=st.sampled_from([160, 224, 256]),
)
def test_pixels_differ_by_rounding(
    width: int,
    height: int,
    interpolation: Interpolation,
    crop: CropMode,
    resized: int,
) -> None:
    image = noise(width, min(height, 4_000_000 // width))
    rule = InputRule(160, resized, interpolation, crop)
    with pytest.MonkeyPatch.context() as patch:
        fast = rule.pixels(image).astype(np.int16)
        patch.setattr(module, "fast", None)
        difference = np.abs(fast - rule.pixels(image))
    assert difference.max() <= 2
    assert difference.mean() < 0.1


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(60, 80), (80, 60), (180, 240), (240, 300), (300, 900), (1000, 750), (90, 3)])
def test_rows_come_before_columns(size: tuple[int, int], interpolation: Interpolation, library: str) -> None:
    """Pillow 13 alone would begin with the columns of the images that are reduced more in height than in width."""
    image, method = noise(*size), module._FILTERS[interpolation][0]
    left, top, right, bottom = size[0] / 16, size[1] * 3 / 16, size[0] * 15 / 16, size[1] * 3 / 4
    rows = image.resize((224, size[1]), method, (left, 0, right, size[1]))
    expected = rows.resize((224, 200), method, (0, top, 224, bottom))
    found = resize(image, (224, 200), interpolation, (left, top, right, bottom))
    assert largest_difference(found, expected) <= (2 if library == "fast" else 0)


def test_no_pass_takes_more_memory_than_the_image(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[tuple[int, int]] = []
    one = module._pass

    def counted(image: Image.Image, size: tuple[int, int], *rest: object) -> Image.Image:
        passes.append(size)
        return one(image, size, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_pass", counted)
    for size in ((20, 100_000), (100_000, 20), (100, 9_000)):
        InputRule(224, 224, "bicubic", "squash").pixels(Image.new("RGB", size))
        assert max(width * height for width, height in passes) <= max(math.prod(size), 224 * 9_000)
    assert len(passes) == 6


@needs_fast
@pytest.mark.parametrize("scale", [None, (60, 80)], ids=["as they are", "60x80"])
def test_vectors_of_both_libraries_are_alike(
    scale: tuple[int, int] | None,
    embedder: Embedder,
    sample_images: SampleImages,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = [decode(golden_image()), *(decode(data) for _, _, data in sample_images[::40])]
    images = [image.resize(scale or image.size) for image in images]
    fast = embedder.embed(images)
    monkeypatch.setattr(module, "fast", None)
    assert (fast * embedder.embed(images)).sum(axis=1).min() >= 0.9995


@needs_fast
def test_a_thumbnail_is_no_worse_than_pillows(sample_images: SampleImages, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the best filter of Pillow, which takes several times as long."""
    for image in (decode(golden_image()), *(decode(data) for _, _, data in sample_images[::80])):
        large = image.resize((1000, 750), Image.Resampling.BICUBIC)
        best = np.asarray(large.resize((192, 144), Image.Resampling.LANCZOS), np.float32)
        errors = []
        for library in (FAST, None):
            monkeypatch.setattr(module, "fast", library)
            errors.append(float(np.square(np.asarray(shrink(large, (192, 144)), np.float32) - best).mean()))
        assert errors[0] <= errors[1]


def test_pillow_resizes_where_the_fast_library_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module, "__version__", "99.0.0")  # its images may lie otherwise in memory
        assert module._fast_library() is None
    monkeypatch.setitem(sys.modules, "cykooz_resizer", None)
    assert module._fast_library() is None
