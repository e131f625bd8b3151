"""Decodes image files into upright RGB images, for ingest, search, the page and the bench.

Pillow alone would clip 16-bit greys to white, show the hidden colours of transparent pixels, ignore the camera's
orientation and accept a 20 KB file that unpacks to gigabytes.

An image of 40 megapixels takes 160 MB in Pillow. To stay under 500 MB, at most two copies of it exist at a time: each
step replaces its input, and NumPy works on bands of rows.
"""

import contextlib
import ctypes
import io
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from cbir.errors import ImageError
from cbir.images.resize import shrink
from cbir.settings import MAX_MEGAPIXELS
from cbir.text import one_line

PREPROCESSING_VERSION = 1
"""Incremented with any change that alters pixels. Every manifest records it: vectors of two versions do not mix."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
EXTENSIONS = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"})

THUMBNAIL_SIDE = 192
_THUMBNAIL_BYTES = 8192
_BAND_PIXELS = 2**16

# Pillow's warnings are about sizes, which are checked below, or do not matter (EXIF, palettes). What it logs, it also
# raises.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)

_UNSUPPORTED = "unsupported image"
_UNSUPPORTED_REASON = re.compile(
    "unsupported|not supported|cannot handle|unknown (compression|pixel mode|raw mode)", re.I
)
_BYTES_LEFT = re.compile(r" \(\d+ bytes not processed\)")  # differs between files with the same damage


def decode(data: bytes, shortest: int | None = None, max_megapixels: float = MAX_MEGAPIXELS) -> Image.Image:
    """Return an image file as an upright RGB image; of several frames, the first.

    With `shortest`, a large JPEG is decoded at a half, a quarter or an eighth of its size, with a shorter side of at
    least this many pixels. This takes a fifth of the time for 12 megapixels.

    Raises:
        ImageError: The file is empty, of an unknown format, too large, truncated or damaged.
    """
    if not data:
        raise ImageError("empty file")
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
        _check_size(image, max_megapixels)
        if shortest is not None:
            image.draft(image.mode, (shortest, shortest))
        image.load()
        _turn_upright(image)
        image = _eight_bits_a_band(image)  # replaces its input, so that no third copy exists
        return _rgb(image)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(_header_error(data)) from None
    except Image.DecompressionBombError as error:  # Pillow's own limit, about 179 megapixels
        pixels = int("".join(filter(str.isdecimal, str(error).split("exceeds")[0])))
        raise _too_large(f"{pixels / 1e6:,.0f} megapixels", max_megapixels) from None
    except Exception as error:  # Pillow's plugins raise many types of errors for damaged files
        reason = _BYTES_LEFT.sub("", one_line(error))
        raise ImageError(_with_kind(reason)) from None


def as_rgb(image: Image.Image, max_megapixels: float = MAX_MEGAPIXELS) -> Image.Image:
    """Return an upright RGB copy of an image in memory, like `decode`; raise `ImageError` if it cannot be used."""
    _check_size(image, max_megapixels)
    try:
        upright = image.copy()
        _turn_upright(upright)
        upright = _eight_bits_a_band(upright)
        return _rgb(upright)
    except Exception as error:  # Pillow reads the file of an opened image only now
        raise ImageError(f"damaged image: {one_line(error)}") from None


def thumbnail(image: Image.Image, data: bytes = b"", side: int = THUMBNAIL_SIDE) -> bytes:
    """Return a small JPEG without camera data, at most `side` pixels wide and high; `data` itself if it is one."""
    small = max(image.size) <= side and len(data) <= _THUMBNAIL_BYTES
    if small and data[:3] == b"\xff\xd8\xff" and b"\xff\xe1" not in data:  # the marker of EXIF and XMP
        return data
    scale = side / max(image.size)
    if scale < 1:
        width, height = (max(1, round(length * scale)) for length in image.size)
        image = shrink(image, (width, height))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85, comment=b"")
    return buffer.getvalue()


def _eight_bits_a_band(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bits(image)
    if image.has_transparency_data and image.mode not in ("LA", "RGBA"):
        return image.convert("RGBA")
    return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        canvas = Image.new("RGB", image.size, "white")
        canvas.paste(image, mask=image)
        return canvas
    return image if image.mode == "RGB" else image.convert("RGB")


def _header_error(data: bytes) -> str:
    """Return why Pillow does not identify an image file; it does not say so itself."""
    for factory, accept in (Image.OPEN[kind] for kind in FORMATS):
        if accept is not None and accept(data[:16]):
            try:
                factory(io.BytesIO(data), "")
            except Exception as error:
                reason = _with_kind(one_line(error))
                if reason.startswith(_UNSUPPORTED):
                    return reason
            return "damaged image: its header cannot be read"
    return "not an image of a known format"


def _with_kind(reason: str) -> str:
    """Return Pillow's reason with whether the image is damaged, or of a kind that Pillow cannot read."""
    if reason.isdecimal():  # a TIFF's
        reason = f"unknown compression {reason}"
    return f"{_UNSUPPORTED if _UNSUPPORTED_REASON.search(reason) else 'damaged image'}: {reason}"


def _silence_libtiff() -> None:
    """Keep libtiff from printing warnings and errors that name no file; Pillow raises its errors, too."""
    folder = Path(Image.__file__).parent
    for library in [*folder.parent.glob("pillow.libs/libtiff*"), *folder.glob(".dylibs/libtiff*")]:
        with contextlib.suppress(OSError, AttributeError):
            for name in ("TIFFSetWarningHandler", "TIFFSetErrorHandler"):
                ctypes.CDLL(str(library))[name](None)


_silence_libtiff()


def _check_size(image: Image.Image, max_megapixels: float) -> None:
    width, height = image.size
    if not width * height:
        raise ImageError("empty image")
    megapixels = width * height / 1e6
    if megapixels > max_megapixels:
        raise _too_large(f"{width} x {height} is {megapixels:,.0f} megapixels", max_megapixels)


def _too_large(what: str, max_megapixels: float) -> ImageError:
    return ImageError(f"too large: {what}, the limit is {max_megapixels:g} (CBIR_MAX_IMAGE_MEGAPIXELS)")


def _turn_upright(image: Image.Image) -> None:
    with contextlib.suppress(Exception):  # a broken EXIF block does not make the image unusable
        ImageOps.exif_transpose(image, in_place=True)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return 16-bit greys, and floats of the ranges 0..1, 0..255 and 0..65535, in mode L; `convert` would clip them."""
    scale = 1 / 257
    if image.mode == "F":
        peak = max(float(values.max()) for _, values in _bands(image))
        scale = 255.0 if peak <= 1 else 1.0 if peak <= 255 else 1 / 257
    grey = Image.new("L", image.size)
    for top, values in _bands(image):
        scaled: npt.NDArray[np.uint8] = np.clip(np.rint(values * scale), 0, 255).astype(np.uint8)
        grey.paste(Image.fromarray(scaled), (0, top))
    return grey


def _bands(image: Image.Image) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """Yield (top, rows) of each band of the image, with NaN as 0."""
    rows = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        yield top, np.nan_to_num(np.asarray(band).astype(np.float32))
