"""Files of other formats, and images with broken contents or metadata."""

from collections.abc import Iterator

from tests.support.hostile.encoders import (
    ORIENTATION,
    chunk,
    encoded,
    gradient_image,
    overwritten,
    png,
    replaced,
    riff,
    small_png,
    tiff,
    tiff_fields,
    with_exif,
    with_segment,
)
from tests.support.hostile.files import DAMAGED, EMPTY, STORED, UNKNOWN, UNSUPPORTED, HostileFile


def other_formats() -> Iterator[HostileFile]:
    """Yield files of other formats, and images with the extension of another format."""
    others = {
        "text": b"I am no image",
        "html": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "pdf": b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF",
        "zip": b"PK\x05\x06" + bytes(18),
        "gzip": b"\x1f\x8b\x08" + bytes(20),
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg' width='10' height='10'><rect/></svg>",
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EOF\n",
        "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64),
        "mp4": b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(64),
        "elf": b"\x7fELF\x02\x01\x01" + bytes(64),
        "pickle": b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93.",
        "ppm": encoded(gradient_image(), "PPM"),
        "jpeg2000": encoded(gradient_image(), "JPEG2000"),
        "icon": encoded(gradient_image(), "ICO"),
        "tga": encoded(gradient_image(), "TGA"),
        "psd": b"8BPS\0\1" + bytes(30),
        "jxl": b"\xff\x0a" + bytes(30),
        "zeros": bytes(100_000),
        "ones": b"\xff" * 1000,
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n",
    }
    for name, data in others.items():
        yield HostileFile(f"strangers/{name}.jpg", data, UNKNOWN)
    yield HostileFile("strangers/postscript.tiff", others["eps"], UNKNOWN)
    yield HostileFile("strangers/svg.png", others["svg"], UNKNOWN)
    yield HostileFile("strangers/bm-text.bmp", b"BMW makes cars", DAMAGED)
    yield HostileFile("strangers/gif-text.gif", b"GIF89a is a format", DAMAGED)
    for kind in ("PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"):
        yield HostileFile(f"strangers/{kind.lower()}-inside.jpg", encoded(gradient_image(), kind), STORED)
    yield HostileFile("strangers/jpeg-inside.png", encoded(gradient_image(), "JPEG"), STORED)
    for name in ("jpg", "png", "webp", "gif", "bmp", "tif", "avif"):
        yield HostileFile(f"strangers/empty.{name}", b"", EMPTY)
        yield HostileFile(f"strangers/one-byte.{name}", b"\xff", UNKNOWN)


def broken_exif() -> Iterator[HostileFile]:
    """Yield good images with broken EXIF blocks, which must not make them unusable."""
    blocks = {f"orientation-{value}": tiff_fields([(ORIENTATION, 3, 1, value)]) for value in (0, 6, 9, 255, 65535)}
    blocks |= {
        "empty": b"",
        "header-only": b"II*\0",
        "no-byte-order": b"XX*\0\x08\0\0\0\0\0",
        "big-endian": tiff_fields([(ORIENTATION, 3, 1, 6)], ">"),
        "long-orientation": tiff_fields([(ORIENTATION, 4, 1, 6)]),
        "text-orientation": tiff_fields([(ORIENTATION, 2, 4, 0x00303031)]),
        "rational-orientation": tiff_fields([(ORIENTATION, 5, 1, 8)]),
        "no-type": tiff_fields([(ORIENTATION, 99, 1, 6)]),
        "many-orientations": tiff_fields([(ORIENTATION, 3, 2, 6)]),
        "huge-count": tiff_fields([(ORIENTATION, 3, 0xFFFFFFFF, 6)]),
        "huge-text": tiff_fields([(0x010F, 2, 0x7FFFFFFF, 8)]),
        "offset-outside": b"II*\0\xff\xff\xff\xff\xff\xff",
        "directory-cut": tiff_fields([(ORIENTATION, 3, 1, 6)])[:15],
        "64-thousand-fields": b"II*\0\x08\0\0\0\xff\xff" + bytes(60_000),
        "next-is-itself": tiff_fields([(ORIENTATION, 3, 1, 6)], following=8),
        "exif-is-itself": tiff_fields([(0x8769, 4, 1, 8)]),
        "gps-is-itself": tiff_fields([(ORIENTATION, 3, 1, 6), (0x8825, 4, 1, 8)]),
        "unwritable-field": tiff_fields([(0x010F, 5, 1, 8), (ORIENTATION, 3, 1, 6)]),
        "division-by-zero": tiff_fields([(ORIENTATION, 3, 1, 6), (0x011A, 5, 1, 0)]),
        "garbage": bytes(range(256)) * 8,
    }
    for name, block in blocks.items():
        yield HostileFile(f"exif/{name}.jpg", with_exif(block), STORED)
    broken = blocks["offset-outside"]
    yield HostileFile("exif/broken.png", small_png(chunk(b"eXIf", broken)), STORED)
    yield HostileFile("exif/hex.png", small_png(chunk(b"tEXt", b"Raw profile type exif\0\nexif\n4\nzz")), STORED)
    yield HostileFile("exif/broken.webp", encoded(gradient_image(), "WEBP", exif=broken), STORED)
    yield HostileFile("exif/orientation-9.tif", tiff(8, 8, (ORIENTATION, 3, 1, 9)), STORED)
    yield HostileFile("exif/next-is-itself.tif", overwritten(tiff(8, 8), 8 + 2 + 12 * 8, b"\x08\0\0\0"), STORED)
    jpeg = encoded(gradient_image(), "JPEG")
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation='\xff\xfe' tiff:Orientation=\"9\"/>"
    yield HostileFile("exif/xmp.jpg", with_segment(jpeg, 0xE1, xmp), STORED)
    yield HostileFile("exif/mpf.jpg", with_segment(jpeg, 0xE2, b"MPF\0" + bytes(64)), STORED)
    yield HostileFile("exif/photoshop.jpg", with_segment(jpeg, 0xED, b"Photoshop 3.0\x008BIM\xff"), STORED)


def damaged() -> Iterator[HostileFile]:
    """Yield images with damage inside them, or other bytes before or after them."""
    whole = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "bmp": "BMP", "tif": "TIFF", "avif": "AVIF"}
    for name, kind in whole.items():
        data = encoded(gradient_image(), kind)
        yield HostileFile(f"damaged/garbage-behind.{name}", data + b"garbage" * 100, STORED)
        yield HostileFile(f"damaged/garbage-before.{name}", b"garbage" + data, UNKNOWN)
        yield HostileFile(f"damaged/twice.{name}", data + data, STORED)
        yield HostileFile(
            f"damaged/signature-only.{name}", data[:16] + bytes(500), UNSUPPORTED if name == "bmp" else DAMAGED
        )
    jpeg = encoded(gradient_image(), "JPEG")
    scan = jpeg.index(b"\xff\xda") + 14
    yield HostileFile("damaged/flipped-pixels.jpg", overwritten(jpeg, scan + 100, b"\x55\xaa\x55"), STORED)
    yield HostileFile("damaged/no-tables.jpg", jpeg.replace(b"\xff\xdb", b"\xff\xfe"), DAMAGED)
    yield HostileFile("damaged/no-codes.jpg", jpeg.replace(b"\xff\xc4", b"\xff\xfe"), STORED)
    yield HostileFile("damaged/arithmetic.jpg", jpeg.replace(b"\xff\xc0", b"\xff\xc9"), STORED)
    yield HostileFile("damaged/lossless.jpg", jpeg.replace(b"\xff\xc0", b"\xff\xc3"), DAMAGED)
    yield HostileFile("damaged/text-pixels.jpg", jpeg[:scan] + b"text" * 500 + b"\xff\xd9", STORED)
    yield HostileFile("damaged/zero-length.jpg", jpeg[:2] + b"\xff\xe1\0\0" + jpeg[2:], STORED)
    yield HostileFile("damaged/header-crc.png", overwritten(small_png(), 29, b"\0\0\0\0"), DAMAGED)
    yield HostileFile("damaged/pixel-crc.png", overwritten(small_png(), len(small_png()) - 16, b"\0\0\0\0"), STORED)
    yield HostileFile("damaged/text-crc.png", small_png(chunk(b"tEXt", b"Comment\0text", crc=0)), DAMAGED)
    yield HostileFile("damaged/profile.png", small_png(chunk(b"iCCP", b"profile\0\0no zlib")), STORED)
    yield HostileFile(
        "damaged/palette.png", replaced(encoded(gradient_image().quantize(), "PNG"), b"PLTE", b"PLTX"), DAMAGED
    )
    yield HostileFile("damaged/filter.png", png(8, 8, 8, 0, (b"\x09" + bytes(8)) * 8), DAMAGED)
    yield HostileFile("damaged/too-few-rows.png", png(8, 8, 8, 0, (b"\0" + bytes(8)) * 5), STORED)
    yield HostileFile("damaged/no-pixels.png", small_png()[:33] + chunk(b"IEND"), DAMAGED)
    yield HostileFile("damaged/unknown-critical.png", small_png(chunk(b"ABCD", b"x")), STORED)
    yield HostileFile("damaged/depth-3.png", png(8, 8, 3, 0, bytes(40)), DAMAGED)
    yield HostileFile("damaged/code-size.gif", overwritten(encoded(gradient_image(), "GIF"), 791, b"\x40"), DAMAGED)
    yield HostileFile("damaged/compression.tif", tiff(8, 8, (259, 3, 1, 31337)), UNSUPPORTED)
    yield HostileFile(
        "damaged/compression.bmp", overwritten(encoded(gradient_image(), "BMP"), 30, b"\x63"), UNSUPPORTED
    )
    yield HostileFile("damaged/no-frame.webp", riff((b"VP8X", bytes(4) + b"\x3f\0\0\x3f\0\0")), DAMAGED)
    yield HostileFile(
        "damaged/lying-length.webp", overwritten(encoded(gradient_image(), "WEBP"), 4, b"\xff\xff\xff\xff"), DAMAGED
    )
