"""A folder of images to embed."""

from pathlib import Path

import pytest

COUNT = 40


@pytest.fixture(scope="session")
def folder(sample_images: list[tuple[str, str | None, bytes]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 40 images and one file that is none."""
    root = tmp_path_factory.mktemp("speed") / "photos"
    root.mkdir()
    for key, _, data in sample_images[:COUNT]:
        (root / f"{key}.png").write_bytes(data)
    (root / "broken.png").write_bytes(b"no image")
    return root
