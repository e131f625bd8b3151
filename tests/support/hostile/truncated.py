"""Image files cut at every boundary of their parts."""

import struct
from collections.abc import Callable, Iterator

from tests.support.hostile.encoders import encoded, gradient_image
from tests.support.hostile.files import DAMAGED, STORED, UNKNOWN, HostileFile

Parts = list[tuple[str, int, int]]
_SEGMENTS = {0xE0: "APP0", 0xDB: "DQT", 0xC0: "SOF0", 0xC2: "SOF2", 0xC4: "DHT", 0xDA: "SOS"}


def jpeg_parts(data: bytes) -> Parts:
    """Return a JPEG file's segments and scans."""
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


def truncated() -> Iterator[HostileFile]:
    """Yield files of every format, cut at the start, in the middle and before the last byte of each part."""
    alpha = gradient_image()
    alpha.putalpha(gradient_image().convert("L"))
    # The number of bytes that identify the format, and the part with the last pixels: a cut after it loses nothing.
    kinds: list[tuple[str, bytes, Callable[[bytes], Parts], int, str]] = [
        ("baseline.jpg", encoded(gradient_image(), "JPEG"), jpeg_parts, 3, "EOI"),
        ("progressive.jpg", encoded(gradient_image(), "JPEG", progressive=True), jpeg_parts, 3, "EOI"),
        ("a.png", encoded(gradient_image(), "PNG"), png_parts, 8, "IDAT"),
        ("palette.png", encoded(gradient_image().quantize(), "PNG"), png_parts, 8, "IDAT"),
        ("lossy.webp", encoded(gradient_image(), "WEBP"), riff_parts, 16, "VP8"),
        ("lossless.webp", encoded(gradient_image(), "WEBP", lossless=True), riff_parts, 16, "VP8L"),
        ("alpha.webp", encoded(alpha, "WEBP"), riff_parts, 16, "VP8"),
        ("a.avif", encoded(gradient_image(), "AVIF"), box_parts, 12, "mdat"),
        ("a.gif", encoded(gradient_image(), "GIF"), gif_parts, 6, "pixels"),
        ("a.bmp", encoded(gradient_image(), "BMP"), bmp_parts, 2, "pixels"),
        ("strip.tif", encoded(gradient_image(), "TIFF"), tiff_parts, 4, "pixels"),
        ("lzw.tif", encoded(gradient_image(), "TIFF", compression="tiff_lzw"), tiff_parts, 4, "directory"),
    ]
    for name, data, parts, telling, last in kinds:
        found = parts(data)
        complete = max(end for part, _, end in found if part == last)
        for number, (part, start, end) in enumerate(found):
            for where, at in (("start", start + 1), ("middle", (start + end) // 2), ("end", end - 1)):
                outcome = UNKNOWN if at < telling else DAMAGED if at < complete else STORED
                if part == "IDAT" and where == "end":
                    outcome = STORED  # only its checksum is cut
                yield HostileFile(f"truncated/{number:02}-{part}-{where}-{name}", data[:at], outcome)
