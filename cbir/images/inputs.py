"""Images as Python users have them: a path, the bytes of a file, a PIL image or a NumPy array."""

import io
import os

import numpy as np
import numpy.typing as npt
from PIL import Image

from cbir.errors import ImageError, UsageError
from cbir.images.decode import as_rgb, decode
from cbir.images.files import read_file
from cbir.settings import MAX_MEGAPIXELS

ImageInput = str | os.PathLike[str] | bytes | Image.Image | npt.NDArray[np.uint8]
"""A path, the bytes of an image file, a PIL image, or uint8 pixels (H, W), (H, W, 3) or (H, W, 4)."""


def require_list(images: object) -> None:
    """Raise `UsageError` for a single image instead of a list of images."""
    if isinstance(images, str | os.PathLike | bytes | Image.Image) or (
        isinstance(images, np.ndarray) and images.ndim < 4
    ):
        raise UsageError("a list of images is needed, also for a single image: [image]")


def require_image(image: object) -> None:
    """Raise `UsageError` for an object of a type that is not an image."""
    if not isinstance(image, str | os.PathLike | bytes | Image.Image | np.ndarray):
        raise UsageError(
            f"{type(image).__name__} is not an image. Use a path, bytes, a PIL image or a uint8 array (H, W, 3)."
        )


def to_rgb(image: ImageInput, shortest: int | None = None, max_megapixels: float = MAX_MEGAPIXELS) -> Image.Image:
    """Return an image as an upright RGB image; `shortest` and `max_megapixels` are as for `decode`.

    Raises `UsageError` for a missing file or an object of another type, and `ImageError` for an unusable image.
    """
    if isinstance(image, Image.Image | np.ndarray):
        return as_rgb(_from_memory(image), max_megapixels)
    require_image(image)
    try:
        return decode(to_bytes(image), shortest, max_megapixels)
    except ImageError as error:
        raise error if isinstance(image, bytes) else ImageError(f"{os.fspath(image)}: {error}") from None


def to_bytes(image: ImageInput) -> bytes:
    """Return the bytes of an image file: the file's own, or a PNG of an image in memory."""
    if isinstance(image, bytes):
        return image
    if isinstance(image, Image.Image | np.ndarray):
        buffer = io.BytesIO()
        as_rgb(_from_memory(image)).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()
    try:
        return read_file(image)
    except OSError as error:
        raise UsageError(f"cannot read the image {os.fspath(image)}: {error.strerror}") from None


def _from_memory(image: Image.Image | npt.NDArray[np.uint8]) -> Image.Image:
    if isinstance(image, Image.Image):
        return image
    has_shape = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4))
    if image.dtype != np.uint8 or not has_shape or not image.size:
        raise ImageError(
            f"an array of {image.dtype} {image.shape} is not an image. Use uint8 (H, W), (H, W, 3) or (H, W, 4)."
        )
    return Image.fromarray(np.ascontiguousarray(image))
