"""Bytes to an upright RGB picture: the one decoder that ingest, search, page and bench share.

Pillow alone would clip 16-bit greys to white, show the hidden colours of transparent pixels, ignore the
camera's orientation and accept a 20 KB file that unpacks to gigabytes. What it does right stays with it.
"""

import io
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from cbir.errors import ImageError

PREPROCESSING_VERSION = 1
"""Raised with any change that alters pixels; kept in every manifest, because vectors of two versions do not mix."""

MAX_MEGAPIXELS = 40.0
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
EXTENSIONS = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"})

THUMBNAIL_SIDE = 192
_THUMBNAIL_BYTES = 8192
_ORIENTATION = 0x0112

# What Pillow warns of is either refused below (size) or means nothing for a picture (EXIF, palettes).
warnings.filterwarnings("ignore", module=r"PIL\.")


def decode(data: bytes, shortest: int | None = None, max_megapixels: float = MAX_MEGAPIXELS) -> Image.Image:
    """Decode one image file into an upright RGB picture, its first frame if it has several.

    Args:
        data: The file's bytes: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF.
        shortest: If given, a JPEG whose shorter side is at least twice this many pixels may be decoded at a
            half, a quarter or an eighth, never to less than this; a 12-megapixel photo takes a fifth of the time.
        max_megapixels: The most pixels (in millions) the file may declare.

    Raises:
        ImageError: The file is empty, of no known format, too large, truncated or damaged.
    """
    if not data:
        raise ImageError("empty file")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        _check_size(image, max_megapixels)
        if shortest is not None:
            image.draft(image.mode, (shortest, shortest))
        image.load()
        return _rgb(_upright(image))
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError("not an image of a known format") from None
    except Image.DecompressionBombError as error:  # Pillow's own limit, about 179 megapixels
        pixels = int("".join(filter(str.isdecimal, str(error).split("exceeds")[0])))
        raise _too_large(f"{pixels / 1e6:,.0f} megapixels", max_megapixels) from None
    except Exception as error:  # Pillow's plugins raise at least seven kinds for damaged files
        raise ImageError(f"damaged image: {' '.join(str(error).split()) or type(error).__name__}") from None


def thumbnail(image: Image.Image, data: bytes) -> bytes:
    """Return a small JPEG for showing: the file itself if it is one and small enough, else a copy at 192 pixels."""
    small = max(image.size) <= THUMBNAIL_SIDE and len(data) <= _THUMBNAIL_BYTES
    if small and data[:3] == b"\xff\xd8\xff" and b"Exif\x00" not in data:
        return data
    copy = image.copy()
    copy.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), reducing_gap=2.0)
    buffer = io.BytesIO()
    copy.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _check_size(image: Image.Image, max_megapixels: float) -> None:
    width, height = image.size
    megapixels = width * height / 1e6
    if megapixels > max_megapixels:
        raise _too_large(f"{width} x {height} is {megapixels:,.0f} megapixels", max_megapixels)


def _too_large(what: str, max_megapixels: float) -> ImageError:
    return ImageError(f"too large: {what}, the limit is {max_megapixels:g} (CBIR_MAX_IMAGE_MEGAPIXELS)")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a broken EXIF block says nothing about the orientation
        return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_eight_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return image.convert("RGB")


def _eight_bits(pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Scale 16-bit greys, and floats of the ranges 0..1, 0..255 and 0..65535, to uint8; `convert` would clip them."""
    values = np.nan_to_num(pixels.astype(np.float32))
    if pixels.dtype.kind == "f":
        peak = float(values.max(initial=0.0))
        scale = 255.0 if peak <= 1 else 1.0 if peak <= 255 else 1 / 257
    else:
        scale = 1 / 257
    scaled: npt.NDArray[np.uint8] = np.clip(np.rint(values * scale), 0, 255).astype(np.uint8)
    return scaled
