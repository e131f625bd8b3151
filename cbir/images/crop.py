"""A part of an image."""

from dataclasses import dataclass

from PIL.Image import Image

from cbir.errors import UsageError


@dataclass(frozen=True)
class Crop:
    """A rectangle of an image, in percent of its width (from the left) and height (from the top)."""

    left: int
    top: int
    right: int
    bottom: int

    def __post_init__(self) -> None:
        if not (0 <= self.left < self.right <= 100 and 0 <= self.top < self.bottom <= 100):
            raise UsageError(f"{self} is not a part of an image. Use percentages with left < right and top < bottom.")

    def of(self, image: Image) -> Image:
        """Return this part of an image, at least one pixel."""
        width, height = image.size
        left, top = self.left * width // 100, self.top * height // 100
        right, bottom = -(-self.right * width // 100), -(-self.bottom * height // 100)
        return image.crop((left, top, right, bottom))
