"""Small images in three classes that a tiny network can tell apart, and the recipe of a short training."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COLOURS = {"red": (200, 60, 60), "green": (60, 200, 60), "blue": (60, 60, 200)}


@pytest.fixture(scope="session")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 24 noisy images of 40 x 40 pixels of each of three colours."""
    root, rng = tmp_path_factory.mktemp("coloured"), np.random.default_rng(1)
    for name, colour in COLOURS.items():
        (root / name).mkdir()
        for number in range(24):
            pixels = np.clip(rng.normal(colour, 50, (40, 40, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number:02d}.png")
    return root
