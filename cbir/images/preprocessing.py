"""From an image to a model's input: the rule that a model file carries, and the pixels that it gives."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
CropMode = Literal["center", "pad", "squash"]

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class InputRule:
    """How an image becomes the model's input, `size` x `size` pixels around its centre.

    `resize` is the length in pixels, before what is outside of `size` is cut off, of

    - the shorter side with `crop="center"`,
    - the longer side with `crop="pad"`, where `fill` (RGB) stands in for what is missing of the shorter,
    - both sides with `crop="squash"`, which changes the image's proportions.

    These are the modes center, border and squash of timm's evaluation transform.
    """

    size: int
    resize: int
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bicubic"
    crop: CropMode = "center"
    fill: tuple[int, int, int] | None = None

    def pixels(self, image: Image.Image) -> Pixels:
        """Return the model's input for an RGB image, uint8 (size, size, 3).

        The same pixels (up to Pillow's rounding) as resizing first and cropping then, as timm and torchvision do, but
        without resizing what the crop throws away.
        """
        scaled = self._scaled(*image.size)
        kept = tuple(min(side, self.size) for side in scaled)
        left, top = (round((whole - part) / 2) for whole, part in zip(scaled, kept, strict=True))
        x, y = image.width / scaled[0], image.height / scaled[1]
        box = (
            left * x,
            top * y,
            min((left + kept[0]) * x, image.width),
            min((top + kept[1]) * y, image.height),
        )
        picture = image.resize((kept[0], kept[1]), _FILTERS[self.interpolation], box=box)
        if kept != (self.size, self.size):
            canvas = Image.new("RGB", (self.size, self.size), self.fill or (0, 0, 0))
            canvas.paste(picture, ((self.size - kept[0]) // 2, (self.size - kept[1]) // 2))
            picture = canvas
        return np.asarray(picture)

    def _scaled(self, width: int, height: int) -> tuple[int, int]:
        """Return the size of the whole image after resizing, rounded as timm and torchvision round it."""
        if self.crop == "squash":
            return self.resize, self.resize
        if self.crop == "pad":
            longer = max(width, height)
            return max(1, round(width * self.resize / longer)), max(1, round(height * self.resize / longer))
        if width <= height:
            return self.resize, int(self.resize * height / width)
        return int(self.resize * width / height), self.resize
