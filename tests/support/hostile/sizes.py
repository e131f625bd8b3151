"""Image files with false or extreme dimensions."""

import struct
import zlib
from collections.abc import Iterator

from PIL import Image

from tests.support.hostile.encoders import chunk, encoded, gradient_image, overwritten, png, small_png, tiff
from tests.support.hostile.files import DAMAGED, STORED, TOO_LARGE, UNSUPPORTED, HostileFile


def bombs() -> Iterator[HostileFile]:
    """Yield small files that declare, or unpack to, far more than an image may have."""
    for side, megapixels in ((13000, "13000 x 13000 is 169 megapixels"), (30000, "900 megapixels")):
        rows = bytes((side // 8 + 1) * side)
        yield HostileFile(f"bombs/{side}.png", png(side, side, 1, 0, rows), f"{TOO_LARGE}{megapixels}, the limit is 40")
    much = zlib.compress(bytes(20_000_000), 9)
    yield HostileFile("bombs/zTXt.png", small_png(chunk(b"zTXt", b"Comment\0\0" + much)), DAMAGED)
    yield HostileFile("bombs/iTXt.png", small_png(chunk(b"iTXt", b"Comment\0\1\0\0\0" + much)), DAMAGED)
    yield HostileFile("bombs/iCCP.png", small_png(chunk(b"iCCP", b"profile\0\0" + much)), DAMAGED)
    yield HostileFile("bombs/many-texts.png", small_png(*[chunk(b"tEXt", b"Comment\0text")] * 20_000), STORED)
    yield HostileFile("bombs/more-rows.png", png(8, 8, 8, 0, bytes(20_000_000)), STORED)
    yield HostileFile("bombs/a.gif", overwritten(encoded(gradient_image(), "GIF"), 6, b"\xff\xff\xff\xff"), TOO_LARGE)
    yield HostileFile("bombs/a.bmp", overwritten(encoded(gradient_image(), "BMP"), 18, b"\x50\xc3\0\0" * 2), TOO_LARGE)
    yield HostileFile("bombs/a.tif", tiff(100_000, 100_000), TOO_LARGE)
    yield HostileFile("bombs/offsets.tif", tiff(8, 8, (273, 4, 0xFFFFFFF, 8)), DAMAGED)
    jpeg = encoded(gradient_image(), "JPEG")
    at = jpeg.index(b"\xff\xc0") + 5
    yield HostileFile("bombs/a.jpg", overwritten(jpeg, at, struct.pack(">HH", 65500, 65500)), TOO_LARGE)
    lossy = encoded(gradient_image(), "WEBP")
    yield HostileFile("bombs/lossy.webp", overwritten(lossy, 26, struct.pack("<HH", 16383, 16383)), TOO_LARGE)
    lossless = encoded(gradient_image(), "WEBP", lossless=True)
    yield HostileFile("bombs/lossless.webp", overwritten(lossless, 21, b"\xff\xff\xff\x0f"), TOO_LARGE)
    frames = [Image.new("RGB", (16, 16), (value * 37 % 256, 0, value % 7)) for value in range(500)]
    moving = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:3])
    yield HostileFile("bombs/canvas.webp", overwritten(moving, 24, b"\xff\xff\x00\xff\x7f\x00"), TOO_LARGE)
    avif = encoded(gradient_image(), "AVIF")
    at = avif.index(b"ispe") + 8
    yield HostileFile("bombs/a.avif", overwritten(avif, at, struct.pack(">II", 30000, 30000)), DAMAGED)
    for kind, name in (("GIF", "gif"), ("WEBP", "webp"), ("PNG", "png"), ("TIFF", "tif")):
        many = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        yield HostileFile(f"bombs/500-frames.{name}", many, STORED)


def extreme_dimensions() -> Iterator[HostileFile]:
    """Yield images with impossible dimensions, and some with unusual ones."""
    good = small_png()
    for name, size in {"0x8": (0, 8), "8x0": (8, 0), "max-x8": (2**31 - 1, 8), "over-max": (2**32 - 1, 1)}.items():
        header = struct.pack(">II", *size) + good[24:29]
        bad = overwritten(good, 16, header + struct.pack(">I", zlib.crc32(b"IHDR" + header)))
        yield HostileFile(f"absurd/{name}.png", bad, TOO_LARGE if size[0] > 2**30 else DAMAGED)
    for width, height in ((1, 1), (1, 10_000), (10_000, 1), (3, 2), (1, 65500), (65500, 1)):
        image = Image.new("RGB", (width, height), "red")
        yield HostileFile(f"absurd/{width}x{height}.png", encoded(image, "PNG"), STORED)
        yield HostileFile(f"absurd/{width}x{height}.jpg", encoded(image, "JPEG"), STORED)
    gif, bmp, jpeg = (encoded(gradient_image(), kind) for kind in ("GIF", "BMP", "JPEG"))
    yield HostileFile("absurd/0x0.gif", overwritten(gif, 6, bytes(4)), STORED)
    yield HostileFile("absurd/0x0-frame.gif", overwritten(gif, 786, bytes(4)), DAMAGED)
    yield HostileFile("absurd/frame-outside.gif", overwritten(gif, 782, b"\xff\xff\xff\xff"), TOO_LARGE)
    yield HostileFile("absurd/top-down.bmp", overwritten(bmp, 22, struct.pack("<i", -64)), STORED)
    yield HostileFile("absurd/0x0.bmp", overwritten(bmp, 18, bytes(8)), DAMAGED)
    yield HostileFile("absurd/min-height.bmp", overwritten(bmp, 22, struct.pack("<i", -(2**31))), TOO_LARGE)
    yield HostileFile("absurd/127-bits.bmp", overwritten(bmp, 28, b"\x7f"), UNSUPPORTED)
    at = jpeg.index(b"\xff\xc0")
    yield HostileFile("absurd/0-high.jpg", overwritten(jpeg, at + 5, bytes(2)), DAMAGED)
    yield HostileFile("absurd/0-wide.jpg", overwritten(jpeg, at + 7, bytes(2)), DAMAGED)
    yield HostileFile("absurd/12-bits.jpg", overwritten(jpeg, at + 4, b"\x0c"), UNSUPPORTED)
    yield HostileFile("absurd/no-component.jpg", overwritten(jpeg, at + 9, b"\0"), UNSUPPORTED)
    yield HostileFile("absurd/0-wide.tif", tiff(0, 8), DAMAGED)
    yield HostileFile("absurd/0-rows.tif", tiff(8, 8, (278, 4, 1, 0)), DAMAGED)
    yield HostileFile("absurd/9-samples.tif", tiff(8, 8, (277, 3, 1, 9)), DAMAGED)
    yield HostileFile("absurd/strip-far-away.tif", tiff(8, 8, (273, 4, 1, 2**31)), DAMAGED)
