"""A part of an image, chosen in percent of its width and height."""

import pytest

from cbir.errors import UsageError
from cbir.images.crop import Crop


@pytest.mark.parametrize("box", [(0, 0, 0, 50), (50, 0, 40, 50), (-1, 0, 50, 50), (0, 0, 101, 50)])
def test_a_crop_is_a_part_of_the_image(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(UsageError):
        Crop(*box)
