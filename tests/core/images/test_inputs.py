"""Images are taken as a path, bytes, a PIL image or an array, and mean the same in each form."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cbir.errors import ImageError, UsageError
from cbir.images.inputs import require_list, to_bytes, to_rgb
from tests.support.hostile.encoders import encoded, gradient_image

PNG = encoded(gradient_image(), "PNG")


def test_every_form_gives_the_same_image(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    expected = np.asarray(gradient_image())
    for image in (path, str(path), PNG, gradient_image(), expected):
        assert np.array_equal(np.asarray(to_rgb(image)), expected)


def test_a_grey_array_and_one_with_transparency_become_rgb() -> None:
    grey = np.full((4, 6), 100, np.uint8)
    clear = np.zeros((4, 6, 4), np.uint8)
    assert to_rgb(grey).getpixel((5, 3)) == (100, 100, 100)
    assert to_rgb(clear).getpixel((5, 3)) == (255, 255, 255)


@pytest.mark.parametrize(
    "array", [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4, 3), np.uint8)]
)
def test_an_array_that_is_no_image_is_refused(array: np.ndarray) -> None:
    with pytest.raises(ImageError, match="is not an image. Use uint8"):
        to_rgb(array)


def test_an_error_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"text")
    with pytest.raises(ImageError, match=r"a\.png: not an image of a known format"):
        to_rgb(tmp_path / "a.png")
    with pytest.raises(UsageError, match=r"cannot read the image .*b\.png: No such file"):
        to_rgb(tmp_path / "b.png")


def test_the_bytes_of_a_file_are_its_own_and_those_of_an_image_are_a_png(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    assert to_bytes(tmp_path / "a.png") == to_bytes(PNG) == PNG
    with Image.open(io.BytesIO(to_bytes(gradient_image()))) as image:
        assert image.format == "PNG"
        assert np.array_equal(np.asarray(image), np.asarray(gradient_image()))


@pytest.mark.parametrize("image", ["a.png", Path("a.png"), PNG, gradient_image(), np.zeros((4, 4, 3), np.uint8)])
def test_a_single_image_is_no_list(image: object) -> None:
    with pytest.raises(UsageError, match=r"a list of images is needed, also for a single image: \[image\]"):
        require_list(image)
    require_list([image])
