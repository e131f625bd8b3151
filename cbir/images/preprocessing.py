"""From an image to a model's input, by the rule in the model's card."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from cbir.images.resize import Interpolation, resize

Pixels = npt.NDArray[np.uint8]
CropMode = Literal["center", "pad", "squash"]


@dataclass(frozen=True)
class InputRule:
    """How an image becomes the model's input: it is resized, and the `size` x `size` pixels at its centre are taken.

    `resize` is the length in pixels of

    - the shorter side with `crop="center"`,
    - the longer side with `crop="pad"`, where `fill` (RGB) pads the shorter side,
    - both sides with `crop="squash"`, which changes the proportions.

    These are the modes center, border and squash of timm's evaluation transform.
    """

    size: int
    resize: int
    interpolation: Interpolation = "bicubic"
    crop: CropMode = "center"
    fill: tuple[int, int, int] | None = None

    def pixels(self, image: Image.Image) -> Pixels:
        """Return the model's input for an RGB image, uint8 (size, size, 3).

        The pixels equal those of timm and torchvision up to Pillow's rounding. They resize first and crop then; here
        the part outside of the crop is never resized.
        """
        scaled = self._scaled(*image.size)
        kept = tuple(min(side, self.size) for side in scaled)
        left, top = (round((whole - part) / 2) for whole, part in zip(scaled, kept, strict=True))
        x, y = image.width / scaled[0], image.height / scaled[1]
        box = (left * x, top * y, min((left + kept[0]) * x, image.width), min((top + kept[1]) * y, image.height))
        pixels = resize(image, (kept[0], kept[1]), self.interpolation, box)
        if kept != (self.size, self.size):
            canvas = Image.new("RGB", (self.size, self.size), self.fill or (0, 0, 0))
            canvas.paste(pixels, ((self.size - kept[0]) // 2, (self.size - kept[1]) // 2))
            pixels = canvas
        return np.asarray(pixels)

    def _scaled(self, width: int, height: int) -> tuple[int, int]:
        """Return the size of the whole image after resizing, rounded like timm and torchvision do."""
        if self.crop == "squash":
            return self.resize, self.resize
        if self.crop == "pad":
            longer = max(width, height)
            return max(1, round(width * self.resize / longer)), max(1, round(height * self.resize / longer))
        if width <= height:
            return self.resize, int(self.resize * height / width)
        return int(self.resize * width / height), self.resize
