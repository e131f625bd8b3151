"""A corpus of hostile image files, made on the spot, and the one outcome that each of them must have.

An outcome is STORED, IGNORED (it is no image of the source), or how the reason for skipping the file begins.
"""

import errno
import io
import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

STORED = "stored"
IGNORED = "ignored"
EMPTY = "empty file"
UNKNOWN = "not an image of a known format"
DAMAGED = "damaged image: "
TOO_LARGE = "too large: "

ORIENTATION = 0x0112


class Hostile(NamedTuple):
    """One file: its name below the corpus's folder, its bytes, and what must come of it."""

    name: str
    data: bytes
    outcome: str


def picture(width: int = 96, height: int = 64) -> Image.Image:
    """Return a smooth RGB picture with a different colour in each corner."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return Image.fromarray((np.stack([x, y, 1 - x], axis=-1) * 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return the bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def corpus() -> list[Hostile]:
    """Return every hostile file that is made of bytes alone."""
    return [*truncated(), *bombs(), *strangers(), *absurd(), *exif(), *animated(), *modes(), *damaged()]


# Building blocks: files that no encoder would write.


def chunk(kind: bytes, data: bytes = b"", crc: int | None = None) -> bytes:
    """Return a chunk of a PNG file."""
    crc = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *before: bytes, interlaced: int = 0) -> bytes:
    """Return a PNG file of unfiltered `rows`, each with its leading filter byte; `before` are chunks before them."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    body = [chunk(b"IHDR", header), *before, chunk(b"IDAT", zlib.compress(rows, 1)), chunk(b"IEND")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def small_png(*before: bytes) -> bytes:
    """Return a grey PNG of 8 x 8 pixels with these chunks in it."""
    return png(8, 8, 8, 0, (b"\0" + bytes(range(8))) * 8, *before)


def tiff_fields(fields: list[tuple[int, int, int, int]], order: str = "<", following: int = 0) -> bytes:
    """Return a TIFF header and directory of (tag, type, count, value or offset), as EXIF blocks have it too."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(fields))
    short = {3: "HH"}
    packed = (
        struct.pack(f"{order}HHI", tag, kind, count)
        + struct.pack(order + short.get(kind, "I"), *((value, 0) if kind in short else (value,)))
        for tag, kind, count, value in fields
    )
    return head + b"".join(packed) + struct.pack(f"{order}I", following)


def tiff(width: int, height: int, *more: tuple[int, int, int, int]) -> bytes:
    """Return an uncompressed grey TIFF file of 64 bytes of pixels; `more` fields take the place of its own."""
    own = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    own += [(273, 4, 1, 8 + 2 + 12 * 8 + 4), (278, 4, 1, height), (279, 4, 1, 64)]
    fields = {field[0]: field for field in [*own, *more]}
    return tiff_fields(sorted(fields.values())) + bytes(range(64))


def with_segment(jpeg: bytes, marker: int, data: bytes) -> bytes:
    """Return a JPEG file with one more segment right after its start."""
    return jpeg[:2] + struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data + jpeg[2:]


def with_exif(block: bytes) -> bytes:
    """Return a JPEG file with this EXIF block, whatever it holds."""
    return with_segment(encoded(picture(), "JPEG", quality=95), 0xE1, b"Exif\0\0" + block)


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a WebP file of these chunks."""
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    """Return `data` with its first `old` replaced, which must be there."""
    if old not in data:
        raise ValueError(f"{old!r} is not there")
    return data.replace(old, new, 1)


def overwritten(data: bytes, at: int, new: bytes) -> bytes:
    """Return `data` with other bytes at a place."""
    return data[:at] + new + data[at + len(new) :]


# Where the parts of a file begin and end: (name, start, end).

Parts = list[tuple[str, int, int]]
_SEGMENTS = {0xE0: "APP0", 0xDB: "DQT", 0xC0: "SOF0", 0xC2: "SOF2", 0xC4: "DHT", 0xDA: "SOS"}


def jpeg_parts(data: bytes) -> Parts:
    """Return a JPEG file's segments, and between them what they scan."""
    parts: Parts = [("SOI", 0, 2)]
    at = 2
    while at < len(data) - 2:
        end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
        name = _SEGMENTS[data[at + 1]]
        parts.append((name, at, end))
        at = end
        if name == "SOS":
            while data[at] != 0xFF or data[at + 1] == 0:
                at += 1
            parts.append(("scan", end, at))
    return [*parts, ("EOI", at, len(data))]


def png_parts(data: bytes) -> Parts:
    """Return a PNG file's chunks."""
    parts: Parts = [("signature", 0, 8)]
    while (at := parts[-1][2]) < len(data):
        parts.append((data[at + 4 : at + 8].decode(), at, at + 12 + struct.unpack_from(">I", data, at)[0]))
    return parts


def riff_parts(data: bytes) -> Parts:
    """Return a WebP file's chunks."""
    parts: Parts = [("RIFF", 0, 12)]
    while (at := parts[-1][2]) < len(data):
        length = struct.unpack_from("<I", data, at + 4)[0]
        parts.append((data[at : at + 4].decode().strip(), at, at + 8 + length + length % 2))
    return parts


def box_parts(data: bytes) -> Parts:
    """Return an AVIF file's boxes."""
    parts: Parts = []
    while (at := parts[-1][2] if parts else 0) < len(data):
        parts.append((data[at + 4 : at + 8].decode(), at, at + struct.unpack_from(">I", data, at)[0]))
    return parts


def gif_parts(data: bytes) -> Parts:
    """Return the parts of a GIF file with one frame and a palette of 256 colours."""
    return [
        ("signature", 0, 6),
        ("screen", 6, 13),
        ("palette", 13, 781),
        ("descriptor", 781, 792),
        ("pixels", 792, len(data) - 2),
    ]


def bmp_parts(data: bytes) -> Parts:
    """Return the parts of a BMP file."""
    return [("header", 0, 14), ("information", 14, 54), ("pixels", 54, len(data))]


def tiff_parts(data: bytes) -> Parts:
    """Return the parts of a TIFF file whose directory comes before, or after, all else."""
    directory = struct.unpack_from("<I", data, 4)[0]
    end = directory + 2 + 12 * struct.unpack_from("<H", data, directory)[0] + 4
    rest = ("pixels", end, len(data)) if directory == 8 else ("pixels", 8, directory)
    return sorted([("header", 0, 8), ("directory", directory, end), rest], key=lambda part: part[1])


def truncated() -> Iterator[Hostile]:
    """Cut every format at the beginning, in the middle and before the last byte of each of its parts."""
    alpha = picture()
    alpha.putalpha(picture().convert("L"))
    # How many bytes tell the format, and the part with the last pixels: what is cut after that has lost nothing.
    kinds: list[tuple[str, bytes, Callable[[bytes], Parts], int, str]] = [
        ("baseline.jpg", encoded(picture(), "JPEG"), jpeg_parts, 3, "EOI"),
        ("progressive.jpg", encoded(picture(), "JPEG", progressive=True), jpeg_parts, 3, "EOI"),
        ("a.png", encoded(picture(), "PNG"), png_parts, 8, "IDAT"),
        ("palette.png", encoded(picture().quantize(), "PNG"), png_parts, 8, "IDAT"),
        ("lossy.webp", encoded(picture(), "WEBP"), riff_parts, 16, "VP8"),
        ("lossless.webp", encoded(picture(), "WEBP", lossless=True), riff_parts, 16, "VP8L"),
        ("alpha.webp", encoded(alpha, "WEBP"), riff_parts, 16, "VP8"),
        ("a.avif", encoded(picture(), "AVIF"), box_parts, 12, "mdat"),
        ("a.gif", encoded(picture(), "GIF"), gif_parts, 6, "pixels"),
        ("a.bmp", encoded(picture(), "BMP"), bmp_parts, 2, "pixels"),
        ("strip.tif", encoded(picture(), "TIFF"), tiff_parts, 4, "pixels"),
        ("lzw.tif", encoded(picture(), "TIFF", compression="tiff_lzw"), tiff_parts, 4, "directory"),
    ]
    for name, data, parts, telling, last in kinds:
        found = parts(data)
        complete = max(end for part, _, end in found if part == last)
        for number, (part, start, end) in enumerate(found):
            for where, at in (("start", start + 1), ("middle", (start + end) // 2), ("end", end - 1)):
                outcome = UNKNOWN if at < telling else DAMAGED if at < complete else STORED
                if part == "IDAT" and where == "end":
                    outcome = STORED  # only its checksum is cut
                yield Hostile(f"truncated/{number:02}-{part}-{where}-{name}", data[:at], outcome)


def bombs() -> Iterator[Hostile]:
    """Small files that claim, or unpack to, far more than a picture may be."""
    for side, megapixels in ((13000, "13000 x 13000 is 169 megapixels"), (30000, "900 megapixels")):
        rows = bytes((side // 8 + 1) * side)
        yield Hostile(f"bombs/{side}.png", png(side, side, 1, 0, rows), f"{TOO_LARGE}{megapixels}, the limit is 40")
    much = zlib.compress(bytes(20_000_000), 9)
    yield Hostile("bombs/zTXt.png", small_png(chunk(b"zTXt", b"Comment\0\0" + much)), DAMAGED)
    yield Hostile("bombs/iTXt.png", small_png(chunk(b"iTXt", b"Comment\0\1\0\0\0" + much)), DAMAGED)
    yield Hostile("bombs/iCCP.png", small_png(chunk(b"iCCP", b"profile\0\0" + much)), DAMAGED)
    yield Hostile("bombs/many-texts.png", small_png(*[chunk(b"tEXt", b"Comment\0text")] * 20_000), STORED)
    yield Hostile("bombs/more-rows.png", png(8, 8, 8, 0, bytes(20_000_000)), STORED)
    yield Hostile("bombs/a.gif", overwritten(encoded(picture(), "GIF"), 6, b"\xff\xff\xff\xff"), TOO_LARGE)
    yield Hostile("bombs/a.bmp", overwritten(encoded(picture(), "BMP"), 18, b"\x50\xc3\0\0" * 2), TOO_LARGE)
    yield Hostile("bombs/a.tif", tiff(100_000, 100_000), TOO_LARGE)
    yield Hostile("bombs/offsets.tif", tiff(8, 8, (273, 4, 0xFFFFFFF, 8)), DAMAGED)
    jpeg = encoded(picture(), "JPEG")
    at = jpeg.index(b"\xff\xc0") + 5
    yield Hostile("bombs/a.jpg", overwritten(jpeg, at, struct.pack(">HH", 65500, 65500)), TOO_LARGE)
    lossy = encoded(picture(), "WEBP")
    yield Hostile("bombs/lossy.webp", overwritten(lossy, 26, struct.pack("<HH", 16383, 16383)), TOO_LARGE)
    lossless = encoded(picture(), "WEBP", lossless=True)
    yield Hostile("bombs/lossless.webp", overwritten(lossless, 21, b"\xff\xff\xff\x0f"), TOO_LARGE)
    frames = [Image.new("RGB", (16, 16), (value * 37 % 256, 0, value % 7)) for value in range(500)]
    moving = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:3])
    yield Hostile("bombs/canvas.webp", overwritten(moving, 24, b"\xff\xff\x00\xff\x7f\x00"), TOO_LARGE)
    avif = encoded(picture(), "AVIF")
    at = avif.index(b"ispe") + 8
    yield Hostile("bombs/a.avif", overwritten(avif, at, struct.pack(">II", 30000, 30000)), DAMAGED)
    for kind, name in (("GIF", "gif"), ("WEBP", "webp"), ("PNG", "png"), ("TIFF", "tif")):
        many = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        yield Hostile(f"bombs/500-frames.{name}", many, STORED)


def strangers() -> Iterator[Hostile]:
    """Files of other formats, and images under another image's extension."""
    others = {
        "text": b"I am no picture",
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
        "ppm": encoded(picture(), "PPM"),
        "jpeg2000": encoded(picture(), "JPEG2000"),
        "icon": encoded(picture(), "ICO"),
        "tga": encoded(picture(), "TGA"),
        "psd": b"8BPS\0\1" + bytes(30),
        "jxl": b"\xff\x0a" + bytes(30),
        "zeros": bytes(100_000),
        "ones": b"\xff" * 1000,
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n",
    }
    for name, data in others.items():
        yield Hostile(f"strangers/{name}.jpg", data, UNKNOWN)
    yield Hostile("strangers/postscript.tiff", others["eps"], UNKNOWN)
    yield Hostile("strangers/svg.png", others["svg"], UNKNOWN)
    yield Hostile("strangers/bm-text.bmp", b"BMW makes cars", DAMAGED)
    yield Hostile("strangers/gif-text.gif", b"GIF89a is a format", DAMAGED)
    for kind in ("PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"):
        yield Hostile(f"strangers/{kind.lower()}-inside.jpg", encoded(picture(), kind), STORED)
    yield Hostile("strangers/jpeg-inside.png", encoded(picture(), "JPEG"), STORED)
    for name in ("jpg", "png", "webp", "gif", "bmp", "tif", "avif"):
        yield Hostile(f"strangers/empty.{name}", b"", EMPTY)
        yield Hostile(f"strangers/one-byte.{name}", b"\xff", UNKNOWN)


def absurd() -> Iterator[Hostile]:
    """Dimensions that no picture has, and some that a picture may have."""
    good = small_png()
    for name, size in {"0x8": (0, 8), "8x0": (8, 0), "max-x8": (2**31 - 1, 8), "over-max": (2**32 - 1, 1)}.items():
        header = struct.pack(">II", *size) + good[24:29]
        bad = overwritten(good, 16, header + struct.pack(">I", zlib.crc32(b"IHDR" + header)))
        yield Hostile(f"absurd/{name}.png", bad, TOO_LARGE if size[0] > 2**30 else DAMAGED)
    for width, height in ((1, 1), (1, 10_000), (10_000, 1), (3, 2), (1, 65500), (65500, 1)):
        image = Image.new("RGB", (width, height), "red")
        yield Hostile(f"absurd/{width}x{height}.png", encoded(image, "PNG"), STORED)
        yield Hostile(f"absurd/{width}x{height}.jpg", encoded(image, "JPEG"), STORED)
    gif, bmp, jpeg = (encoded(picture(), kind) for kind in ("GIF", "BMP", "JPEG"))
    yield Hostile("absurd/0x0.gif", overwritten(gif, 6, bytes(4)), STORED)
    yield Hostile("absurd/0x0-frame.gif", overwritten(gif, 786, bytes(4)), DAMAGED)
    yield Hostile("absurd/frame-outside.gif", overwritten(gif, 782, b"\xff\xff\xff\xff"), TOO_LARGE)
    yield Hostile("absurd/top-down.bmp", overwritten(bmp, 22, struct.pack("<i", -64)), STORED)
    yield Hostile("absurd/0x0.bmp", overwritten(bmp, 18, bytes(8)), DAMAGED)
    yield Hostile("absurd/min-height.bmp", overwritten(bmp, 22, struct.pack("<i", -(2**31))), TOO_LARGE)
    yield Hostile("absurd/127-bits.bmp", overwritten(bmp, 28, b"\x7f"), DAMAGED)
    at = jpeg.index(b"\xff\xc0")
    yield Hostile("absurd/0-high.jpg", overwritten(jpeg, at + 5, bytes(2)), DAMAGED)
    yield Hostile("absurd/0-wide.jpg", overwritten(jpeg, at + 7, bytes(2)), DAMAGED)
    yield Hostile("absurd/12-bits.jpg", overwritten(jpeg, at + 4, b"\x0c"), DAMAGED)
    yield Hostile("absurd/no-component.jpg", overwritten(jpeg, at + 9, b"\0"), DAMAGED)
    yield Hostile("absurd/0-wide.tif", tiff(0, 8), DAMAGED)
    yield Hostile("absurd/0-rows.tif", tiff(8, 8, (278, 4, 1, 0)), DAMAGED)
    yield Hostile("absurd/9-samples.tif", tiff(8, 8, (277, 3, 1, 9)), DAMAGED)
    yield Hostile("absurd/strip-far-away.tif", tiff(8, 8, (273, 4, 1, 2**31)), DAMAGED)


def exif() -> Iterator[Hostile]:
    """Broken EXIF blocks in good pictures, which they must not cost."""
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
        yield Hostile(f"exif/{name}.jpg", with_exif(block), STORED)
    broken = blocks["offset-outside"]
    yield Hostile("exif/broken.png", small_png(chunk(b"eXIf", broken)), STORED)
    yield Hostile("exif/hex.png", small_png(chunk(b"tEXt", b"Raw profile type exif\0\nexif\n4\nzz")), STORED)
    yield Hostile("exif/broken.webp", encoded(picture(), "WEBP", exif=broken), STORED)
    yield Hostile("exif/orientation-9.tif", tiff(8, 8, (ORIENTATION, 3, 1, 9)), STORED)
    yield Hostile("exif/next-is-itself.tif", overwritten(tiff(8, 8), 8 + 2 + 12 * 8, b"\x08\0\0\0"), STORED)
    jpeg = encoded(picture(), "JPEG")
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation='\xff\xfe' tiff:Orientation=\"9\"/>"
    yield Hostile("exif/xmp.jpg", with_segment(jpeg, 0xE1, xmp), STORED)
    yield Hostile("exif/mpf.jpg", with_segment(jpeg, 0xE2, b"MPF\0" + bytes(64)), STORED)
    yield Hostile("exif/photoshop.jpg", with_segment(jpeg, 0xED, b"Photoshop 3.0\x008BIM\xff"), STORED)


def animated() -> Iterator[Hostile]:
    """Files of several frames, of which the first counts."""
    frames = [picture(), picture().rotate(90), picture().rotate(180)]
    outcomes = {"GIF": STORED, "PNG": STORED, "TIFF": STORED, "MPO": STORED, "WEBP": DAMAGED, "AVIF": DAMAGED}
    for kind, outcome in outcomes.items():
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        yield Hostile(f"animated/{kind}.jpg", data, STORED)
        yield Hostile(f"animated/{kind}-cut.jpg", data[: len(data) * 9 // 10], outcome)


def interlaced_png(side: int) -> bytes:
    """Return a grey PNG whose rows come in the seven passes of Adam7."""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    grey = np.add.outer(np.arange(side), np.arange(side)).astype(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for x, y, dx, dy in passes for row in grey[y::dy, x::dx])
    return png(side, side, 8, 0, rows, interlaced=1)


def rgb48_png(image: Image.Image) -> bytes:
    """Return a PNG of 16 bits a channel, which Pillow reads and cannot write."""
    rows = np.repeat(np.asarray(image), 2, axis=-1)  # a byte twice is the byte times 257
    return png(*image.size, 16, 2, b"".join(b"\0" + row.tobytes() for row in rows))


def ycck_jpeg(image: Image.Image) -> bytes:
    """Return a JPEG of four channels that holds, and says as Adobe's do that it holds, YCCK."""
    planes = ImageOps.invert(image).convert("YCbCr").split()
    cmyk = Image.merge("CMYK", (*map(ImageOps.invert, planes), Image.new("L", image.size)))  # inverted when written
    plain, said = b"Adobe\0\x64\0\0\0\0\0", b"Adobe\0\x64\0\0\0\0\2"
    return replaced(encoded(cmyk, "JPEG", quality=100), plain, said)


def sixteen_bits(image: Image.Image, mode: str = "I;16") -> Image.Image:
    """Return the picture in 16 bits of grey, of mode I;16 or (for a big-endian file) I;16B."""
    return Image.frombytes(mode, image.size, np.repeat(np.asarray(image.convert("L")), 2, axis=-1).tobytes())


def modes() -> Iterator[Hostile]:
    """Every colour mode, depth and compression that a good file may have."""
    image, grey = picture(), picture().convert("L")
    alpha = picture()
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
        yield Hostile(f"modes/{name}", data, STORED)


def damaged() -> Iterator[Hostile]:
    """Good files with something broken inside, before or behind them."""
    whole = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "bmp": "BMP", "tif": "TIFF", "avif": "AVIF"}
    for name, kind in whole.items():
        data = encoded(picture(), kind)
        yield Hostile(f"damaged/garbage-behind.{name}", data + b"garbage" * 100, STORED)
        yield Hostile(f"damaged/garbage-before.{name}", b"garbage" + data, UNKNOWN)
        yield Hostile(f"damaged/twice.{name}", data + data, STORED)
        yield Hostile(f"damaged/signature-only.{name}", data[:16] + bytes(500), DAMAGED)
    jpeg = encoded(picture(), "JPEG")
    scan = jpeg.index(b"\xff\xda") + 14
    yield Hostile("damaged/flipped-pixels.jpg", overwritten(jpeg, scan + 100, b"\x55\xaa\x55"), STORED)
    yield Hostile("damaged/no-tables.jpg", jpeg.replace(b"\xff\xdb", b"\xff\xfe"), DAMAGED)
    yield Hostile("damaged/no-codes.jpg", jpeg.replace(b"\xff\xc4", b"\xff\xfe"), STORED)
    yield Hostile("damaged/arithmetic.jpg", jpeg.replace(b"\xff\xc0", b"\xff\xc9"), STORED)
    yield Hostile("damaged/lossless.jpg", jpeg.replace(b"\xff\xc0", b"\xff\xc3"), DAMAGED)
    yield Hostile("damaged/text-pixels.jpg", jpeg[:scan] + b"text" * 500 + b"\xff\xd9", STORED)
    yield Hostile("damaged/zero-length.jpg", jpeg[:2] + b"\xff\xe1\0\0" + jpeg[2:], STORED)
    yield Hostile("damaged/header-crc.png", overwritten(small_png(), 29, b"\0\0\0\0"), DAMAGED)
    yield Hostile("damaged/pixel-crc.png", overwritten(small_png(), len(small_png()) - 16, b"\0\0\0\0"), STORED)
    yield Hostile("damaged/text-crc.png", small_png(chunk(b"tEXt", b"Comment\0text", crc=0)), DAMAGED)
    yield Hostile("damaged/profile.png", small_png(chunk(b"iCCP", b"profile\0\0no zlib")), STORED)
    yield Hostile("damaged/palette.png", replaced(encoded(picture().quantize(), "PNG"), b"PLTE", b"PLTX"), DAMAGED)
    yield Hostile("damaged/filter.png", png(8, 8, 8, 0, (b"\x09" + bytes(8)) * 8), DAMAGED)
    yield Hostile("damaged/too-few-rows.png", png(8, 8, 8, 0, (b"\0" + bytes(8)) * 5), STORED)
    yield Hostile("damaged/no-pixels.png", small_png()[:33] + chunk(b"IEND"), DAMAGED)
    yield Hostile("damaged/unknown-critical.png", small_png(chunk(b"ABCD", b"x")), STORED)
    yield Hostile("damaged/depth-3.png", png(8, 8, 3, 0, bytes(40)), DAMAGED)
    yield Hostile("damaged/code-size.gif", overwritten(encoded(picture(), "GIF"), 791, b"\x40"), DAMAGED)
    yield Hostile("damaged/compression.tif", tiff(8, 8, (259, 3, 1, 31337)), DAMAGED)
    yield Hostile("damaged/compression.bmp", overwritten(encoded(picture(), "BMP"), 30, b"\x63"), DAMAGED)
    yield Hostile("damaged/no-frame.webp", riff((b"VP8X", bytes(4) + b"\x3f\0\0\x3f\0\0")), DAMAGED)
    yield Hostile("damaged/lying-length.webp", overwritten(encoded(picture(), "WEBP"), 4, b"\xff\xff\xff\xff"), DAMAGED)


# What only a file system can hold.


def write(folder: Path) -> dict[str, str]:
    """Write the corpus and its companions into `folder`; return the outcome of each by its key."""
    outcomes = {}
    for one in corpus():
        path = folder / one.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.data)
        outcomes[one.name] = one.outcome
    return outcomes | _names(folder) | _links(folder) | _specials(folder)


def _names(folder: Path) -> dict[str, str]:
    data = encoded(picture(), "PNG")
    (folder / "names").mkdir()
    root = os.fsencode(folder / "names") + b"/"
    found = {}
    names = {
        b"new\nline.png": "new\nline.png",
        b"caf\xe9.png": "caf\\udce9.png",
        b"\xff\xfe\xfd.png": "\\udcff\\udcfe\\udcfd.png",
        b"a" * 251 + b".png": "a" * 251 + ".png",
        "я".encode() * 125 + b".png": "я" * 125 + ".png",
        "\u202egnp.evil.png".encode(): "\u202egnp.evil.png",
        b"\x1b[31mred\x07.png": "\x1b[31mred\x07.png",
        b"tab\treturn\r.png": "tab\treturn\r.png",
        b"-rf.png": "-rf.png",
        b"back\\slash'\"`$(id).png": "back\\slash'\"`$(id).png",
        b"%s {0} [red].png": "%s {0} [red].png",
        b"two words .png": "two words .png",
        "e\u0301 \U0001f98a.png".encode(): "e\u0301 \U0001f98a.png",
        b"two.ends.jpg.png": "two.ends.jpg.png",
        b"UPPER.PNG": "UPPER.PNG",
    }
    for name, key in names.items():
        Path(os.fsdecode(root + name)).write_bytes(data)
        found[f"names/{key}"] = STORED
    for name in (".hidden.png", ".png", "no-extension", "a.png~", "a.png.txt", "Thumbs.db"):
        (folder / "names" / name).write_bytes(data)
        found[f"names/{name}"] = IGNORED
    (folder / "names" / ".hidden").mkdir()
    (folder / "names" / ".hidden" / "a.png").write_bytes(data)
    return found | {"names/.hidden/a.png": IGNORED}


def _links(folder: Path) -> dict[str, str]:
    (folder / "links").mkdir()
    (folder / "links" / "real.png").write_bytes(encoded(picture(), "PNG"))
    targets = {
        "to-file.png": ("real.png", STORED),
        "to-itself.png": ("to-itself.png", os.strerror(errno.ELOOP)),
        "there.png": ("back.png", os.strerror(errno.ELOOP)),
        "back.png": ("there.png", os.strerror(errno.ELOOP)),
        "dangling.png": ("nowhere", os.strerror(errno.ENOENT)),
        "to-text.png": (__file__, UNKNOWN),
        "to-device.png": ("/dev/zero", "not a regular file"),
        "to-folder.png": (".", os.strerror(errno.EISDIR)),
        "loop": ("..", IGNORED),
    }
    for name, (target, _) in targets.items():
        (folder / "links" / name).symlink_to(target)
    return {"links/real.png": STORED} | {f"links/{name}": outcome for name, (_, outcome) in targets.items()}


def _specials(folder: Path) -> dict[str, str]:
    root = folder / "special"
    root.mkdir()
    os.mkfifo(root / "pipe.png")
    os.mknod(root / "socket.png", stat.S_IFSOCK | 0o600)
    (root / "folder.png").mkdir()
    (root / "folder.png" / "inside.png").write_bytes(encoded(picture(), "PNG"))
    (root / "empty-folder.png").mkdir()
    (root / "closed").mkdir()
    (root / "closed" / "inside.png").write_bytes(encoded(picture(), "PNG"))
    (root / "unreadable.png").write_bytes(encoded(picture(), "PNG"))
    found = {
        "special/pipe.png": "not a regular file",
        "special/socket.png": os.strerror(errno.ENXIO),
        "special/folder.png": IGNORED,
        "special/folder.png/inside.png": STORED,
        "special/empty-folder.png": IGNORED,
        "special/unreadable.png": STORED,
        "special/closed/inside.png": STORED,
    }
    for name in ("unreadable.png", "closed"):
        (root / name).chmod(0)
    if not os.access(root / "unreadable.png", os.R_OK):  # anyone but root
        denied = os.strerror(errno.EACCES)
        del found["special/closed/inside.png"]
        found |= {"special/unreadable.png": denied, "special/closed": f"cannot list this folder: {denied}"}
    return found
