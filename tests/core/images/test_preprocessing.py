"""From an image to the pixels for a model."""

from typing import get_args

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from cbir.images.preprocessing import CropMode, InputRule
from cbir.images.resize import Interpolation
from cbir.models.embedder import Embedder


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(width=st.integers(1, 700), height=st.integers(1, 700), seed=st.integers(0, 99))
def test_pixels_are_those_of_resize_and_centre_crop(embedder: Embedder, width: int, height: int, seed: int) -> None:
    """Against the two steps of torchvision, done with Pillow, on smooth waves.

    On noise Pillow's two passes clip in between, in an order that it chooses by the sizes. On waves it rounds up to one
    value in forty to the other side (257 x 334).
    """
    assume(max(width, height) <= 40 * min(width, height))
    phases = np.random.default_rng(seed).uniform(0, 6, (3, 2))
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 60 * np.sin(x / 9 + a) + 60 * np.cos(y / 7 + b) for a, b in phases]
    image, rule = Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8)), embedder.card.input
    short, long = min(width, height), max(width, height)
    target = int(rule.resize * long / short)
    full = image.resize((rule.resize, target) if width <= height else (target, rule.resize), Image.Resampling.BICUBIC)
    left, top = (round((side - rule.size) / 2.0) for side in full.size)
    expected = full.crop((left, top, left + rule.size, top + rule.size))
    difference = np.abs(np.asarray(expected, np.int16) - np.asarray(embedder.pixels(image), np.int16))
    assert difference.max() <= 2
    assert difference.mean() < 0.05


FILTERS: dict[Interpolation, Image.Resampling] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@settings(max_examples=100, deadline=None)
@given(
    width=st.integers(1, 500),
    height=st.integers(1, 500),
    interpolation=st.sampled_from(sorted(FILTERS)),
    crop=st.sampled_from(get_args(CropMode)),
    zoom=st.sampled_from([1.0, 0.95, 0.875]),
)
def test_every_rule_gives_what_resizing_all_of_the_image_would(
    width: int, height: int, interpolation: Interpolation, crop: CropMode, zoom: float
) -> None:
    """On noise, with Pillow's own passes over rows and columns."""
    assume(max(width, height) <= 20 * min(width, height))
    image = Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8))
    size, resized = 96, round(96 / zoom)
    scale = resized / (max if crop == "pad" else min)(width, height)
    to = [int(side * scale + 1e-9) if crop == "center" else max(1, round(side * scale)) for side in (width, height)]
    if crop == "squash":
        to = [resized, resized]
    rows = image.resize((to[0], height), FILTERS[interpolation], (0, 0, width, height))
    full = rows.resize((to[0], to[1]), FILTERS[interpolation], (0, 0, to[0], height))
    expected = Image.new("RGB", (size, size), (9, 99, 199))
    left, top = (round((side - size) / 2) if side > size else -((size - side) // 2) for side in to)
    expected.paste(full, (-left, -top))
    found = InputRule(size, resized, interpolation, crop, (9, 99, 199)).pixels(image)
    assert np.abs(np.asarray(expected, np.int16) - np.asarray(found, np.int16)).max() <= 2
