"""Resizing: with fast_image_resize where cykooz-resizer has a wheel, and with Pillow elsewhere.

Both make two passes with the same weights: one over the rows, one over the columns. The values in between are rounded
and clipped, so another order of the passes gives other pixels at sharp edges. fast_image_resize and Pillow 13 choose
the order by the sizes. Here each is told to make one pass at a time, in the order of Pillow 12, so that they differ by
rounding only.
"""

import math
import threading
from types import ModuleType
from typing import Literal

from PIL import Image, __version__

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
Box = tuple[float, float, float, float]

_FILTERS = {
    "bilinear": (Image.Resampling.BILINEAR, "bilinear", 1),
    "bicubic": (Image.Resampling.BICUBIC, "catmull_rom", 2),
    "lanczos": (Image.Resampling.LANCZOS, "lanczos3", 3),
}
"""Pillow's filter, the name that fast_image_resize has for it, and how many pixels it reaches to each side."""

_TALL = 100
_KNOWN_LAYOUTS = ("12", "13")

_threads = threading.local()


def _fast_library() -> ModuleType | None:
    """Return cykooz-resizer if it is installed, and knows how the installed Pillow lays out images in memory."""
    if __version__.split(".")[0] not in _KNOWN_LAYOUTS:
        return None
    try:
        import cykooz_resizer
    except ImportError:  # there is no wheel for this platform
        return None
    return cykooz_resizer  # type: ignore[no-any-return]


fast = _fast_library()
"""The library that resizes, None for Pillow."""


def resize(image: Image.Image, size: tuple[int, int], interpolation: Interpolation, box: Box) -> Image.Image:
    """Return the part `box` of an RGB image in another size."""
    if interpolation == "nearest":
        return image.resize(size, Image.Resampling.NEAREST, box)
    left, top, right, bottom = box
    if image.height > _TALL * image.width and size[1] < image.height:  # the rows in between could fill the memory
        columns = _pass(image, (image.width, size[1]), interpolation, (0, top, image.width, bottom))
        return _pass(columns, size, interpolation, (left, 0, right, size[1]))
    reach = _FILTERS[interpolation][2] * max(1.0, (bottom - top) / size[1])
    first, last = max(0, math.floor(top - reach)), min(image.height, math.ceil(bottom + reach))
    rows = _pass(image, (size[0], last - first), interpolation, (left, first, right, last))
    return _pass(rows, size, interpolation, (0, top - first, size[0], bottom - first))


def shrink(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return an RGB image in a smaller size, for people to look at."""
    if fast is None:
        return image.resize(size, Image.Resampling.HAMMING, reducing_gap=1.0)
    return resize(image, size, "bilinear", (0, 0, *image.size))


def _pass(image: Image.Image, size: tuple[int, int], interpolation: Interpolation, box: Box) -> Image.Image:
    """Return the part `box` of an image in another width or height."""
    pillows, name, _ = _FILTERS[interpolation]
    if fast is None:
        return image.resize(size, pillows, box)
    left, top, right, bottom = box
    algorithm = fast.ResizeAlg.convolution(fast.FilterType[name])
    options = fast.ResizeOptions(algorithm, crop_box=fast.CropBox(left, top, right - left, bottom - top))
    resized = Image.new("RGB", size)
    if not hasattr(_threads, "resizer"):
        _threads.resizer = fast.Resizer()  # serves one thread at a time
    _threads.resizer.resize_pil(image, resized, options)
    return resized
