"""Valid images: animations, and every colour mode, depth and compression."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.support.hostile.encoders import (
    encoded,
    gradient_image,
    interlaced_png,
    rgb48_png,
    sixteen_bits,
    with_segment,
    ycck_jpeg,
)
from tests.support.hostile.files import DAMAGED, STORED, HostileFile


def animated() -> Iterator[HostileFile]:
    """Yield files of several frames, of which the first one counts."""
    frames = [gradient_image(), gradient_image().rotate(90), gradient_image().rotate(180)]
    outcomes = {"GIF": STORED, "PNG": STORED, "TIFF": STORED, "MPO": STORED, "WEBP": DAMAGED, "AVIF": DAMAGED}
    for kind, outcome in outcomes.items():
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        yield HostileFile(f"animated/{kind}.jpg", data, STORED)
        yield HostileFile(f"animated/{kind}-cut.jpg", data[: len(data) * 9 // 10], outcome)


def colour_modes() -> Iterator[HostileFile]:
    """Yield images of every colour mode, depth and compression."""
    image, grey = gradient_image(), gradient_image().convert("L")
    alpha = gradient_image()
    alpha.putalpha(grey)
    floats = np.asarray(grey).astype(np.float32) / 255
    odd = floats.copy()
    odd[:8], odd[8:16] = np.nan, np.inf
    palette = image.quantize(64)
    files = {
        "cmyk.jpg": encoded(image.convert("CMYK"), "JPEG"),
        "ycck.jpg": ycck_jpeg(image),
        "grey.jpg": encoded(grey, "JPEG"),
        "progressive.jpg": encoded(image, "JPEG", progressive=True),
        "restarts.jpg": encoded(image, "JPEG", restart_marker_blocks=1),
        "comment.jpg": with_segment(encoded(image, "JPEG"), 0xFE, bytes(range(256)) * 200),
        "no-jfif.jpg": b"\xff\xd8" + encoded(image, "JPEG")[20:],
        "worst.jpg": encoded(image, "JPEG", quality=1),
        "grey16.png": encoded(sixteen_bits(image), "PNG"),
        "rgb16.png": rgb48_png(image),
        "interlaced.png": interlaced_png(21),
        "one-bit.png": encoded(image.convert("1"), "PNG"),
        "four-colours.png": encoded(image.quantize(4), "PNG"),
        "palette.png": encoded(palette, "PNG", transparency=3),
        "palette-alphas.png": encoded(palette, "PNG", transparency=bytes(range(64))),
        "grey-key.png": encoded(grey, "PNG", transparency=100),
        "rgb-key.png": encoded(image, "PNG", transparency=(255, 0, 0)),
        "la.png": encoded(alpha.convert("LA"), "PNG"),
        "rgba.png": encoded(alpha, "PNG"),
        "rgba.webp": encoded(alpha, "WEBP"),
        "rgba.avif": encoded(alpha, "AVIF"),
        "rgba.tif": encoded(alpha, "TIFF"),
        "grey.gif": encoded(grey, "GIF"),
        "transparent.gif": encoded(palette, "GIF", transparency=0),
        "one-bit.bmp": encoded(image.convert("1"), "BMP"),
        "palette.bmp": encoded(palette, "BMP"),
        "rgba.bmp": encoded(alpha, "BMP"),
        "float.tif": encoded(Image.fromarray(floats), "TIFF"),
        "nan.tif": encoded(Image.fromarray(odd), "TIFF"),
        "nothing-but-nan.tif": encoded(Image.fromarray(np.full_like(odd, np.nan)), "TIFF"),
        "grey16.tif": encoded(sixteen_bits(image), "TIFF"),
        "grey32.tif": encoded(sixteen_bits(image).convert("I"), "TIFF"),
        "big-endian.tif": encoded(sixteen_bits(image, "I;16B"), "TIFF"),
        "cmyk.tif": encoded(image.convert("CMYK"), "TIFF"),
        "lab.tif": encoded(image.convert("LAB"), "TIFF"),
        "ycbcr.tif": encoded(image.convert("YCbCr"), "TIFF"),
        "palette.tif": encoded(palette, "TIFF"),
        "bigtiff.tif": encoded(image, "TIFF", big_tiff=True),
    }
    for compression in ("tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits", "jpeg", "zstd", "lzma"):
        files[f"{compression}.tif"] = encoded(image, "TIFF", compression=compression)
    for compression in ("group3", "group4", "tiff_ccitt"):
        files[f"{compression}.tif"] = encoded(image.convert("1"), "TIFF", compression=compression)
    for name, data in files.items():
        yield HostileFile(f"modes/{name}", data, STORED)
