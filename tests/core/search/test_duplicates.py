"""Stored images that are copies of others."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.examples import SampleImages
from tests.support.ingesting import files, run, some_images, sync


@pytest.fixture
def photos(photo_folder: Path, tmp_path: Path) -> Path:
    """A folder of 12 images that a test may change."""
    return some_images(photo_folder, tmp_path / "photos", 12)


def test_duplicates_are_named_from_what_is_stored(photos: Path, model_file: Path) -> None:
    original = files(photos)[4]
    (photos / "zz").mkdir()
    shutil.copyfile(original, photos / "zz" / "copy.png")
    Image.open(original).convert("RGB").resize((200, 200)).save(photos / "zz" / "like it.jpg", quality=80)
    sync(photos, model_file)
    name, store = original.relative_to(photos).as_posix(), f"faiss:{photos.parent}/index"
    assert json.loads(run("duplicates", "--store", store, "--json").stdout) == [[name, "zz/copy.png"]]
    near = json.loads(run("duplicates", "--store", store, "--near", 4, "--json").stdout)
    assert near == [[name, "zz/copy.png", "zz/like it.jpg"]]


def test_perceptual_hashes_tell_pictures_apart(sample_images: SampleImages) -> None:
    import io

    from cbir.search.duplicates import perceptual_hash

    def jpeg(image: Image.Image) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=85)
        return buffer.getvalue()

    images = [Image.open(io.BytesIO(data)).convert("RGB") for _, _, data in sample_images[:40]]
    codes = np.unpackbits(np.stack([perceptual_hash(jpeg(image)) for image in images]), axis=1)
    smaller = np.unpackbits(np.stack([perceptual_hash(jpeg(image.resize((150, 150)))) for image in images]), axis=1)
    assert (codes != smaller).sum(axis=1).max() <= 4
    differ = (codes[:, None] != codes[None]).sum(axis=2)[~np.eye(len(images), dtype=bool)]
    assert np.median(differ) > 20
