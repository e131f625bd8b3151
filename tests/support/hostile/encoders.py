"""Encodes images, also in ways that no library writes."""

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

ORIENTATION = 0x0112


def gradient_image(width: int = 96, height: int = 64) -> Image.Image:
    """Return a smooth RGB image with a different colour in each corner."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return Image.fromarray((np.stack([x, y, 1 - x], axis=-1) * 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return the bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


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


def interlaced_png(side: int) -> bytes:
    """Return a grey PNG with the interlaced rows of Adam7."""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    grey = np.add.outer(np.arange(side), np.arange(side)).astype(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for x, y, dx, dy in passes for row in grey[y::dy, x::dx])
    return png(side, side, 8, 0, rows, interlaced=1)


def rgb48_png(image: Image.Image) -> bytes:
    """Return a PNG of 16 bits a channel, which Pillow reads and cannot write."""
    rows = np.repeat(np.asarray(image), 2, axis=-1)  # a byte twice is the byte times 257
    return png(*image.size, 16, 2, b"".join(b"\0" + row.tobytes() for row in rows))


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
    return with_segment(encoded(gradient_image(), "JPEG", quality=95), 0xE1, b"Exif\0\0" + block)


def ycck_jpeg(image: Image.Image) -> bytes:
    """Return a JPEG in YCCK, marked as such like Adobe's."""
    planes = ImageOps.invert(image).convert("YCbCr").split()
    cmyk = Image.merge("CMYK", (*map(ImageOps.invert, planes), Image.new("L", image.size)))  # inverted when written
    plain, marked = b"Adobe\0\x64\0\0\0\0\0", b"Adobe\0\x64\0\0\0\0\2"
    return replaced(encoded(cmyk, "JPEG", quality=100), plain, marked)


def sixteen_bits(image: Image.Image, mode: str = "I;16") -> Image.Image:
    """Return the image as 16-bit grey, in mode I;16 or (for a big-endian file) I;16B."""
    return Image.frombytes(mode, image.size, np.repeat(np.asarray(image.convert("L")), 2, axis=-1).tobytes())


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a WebP file of these chunks."""
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    """Return `data` with its first `old` replaced."""
    if old not in data:
        raise ValueError(f"{old!r} is missing")
    return data.replace(old, new, 1)


def overwritten(data: bytes, offset: int, new: bytes) -> bytes:
    """Return `data` with other bytes from an offset on."""
    return data[:offset] + new + data[offset + len(new) :]
