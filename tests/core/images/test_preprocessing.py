"""From an image to the pixels for a model."""

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

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
