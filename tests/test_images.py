"""The decoder: one upright RGB picture from whatever comes, or one reason."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from cbir.errors import ImageError
from cbir.images import decode, thumbnail

SIZE = (96, 64)


def picture() -> Image.Image:
    """A smooth picture with a different colour in each corner."""
    x, y = np.meshgrid(np.linspace(0, 1, SIZE[0]), np.linspace(0, 1, SIZE[1]))
    return Image.fromarray((np.stack([x, y, 1 - x], axis=-1) * 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def difference(image: Image.Image, other: Image.Image) -> float:
    assert image.size == other.size
    assert image.mode == "RGB"
    return float(np.abs(np.asarray(image, np.float32) - np.asarray(other.convert("RGB"), np.float32)).mean())


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP", "JPEG", "AVIF", "GIF"])
def test_every_format_gives_the_picture(kind: str) -> None:
    options = {"quality": 95} if kind in ("JPEG", "WEBP", "AVIF") else {}
    assert difference(decode(encoded(picture(), kind, **options)), picture()) < 6


ROTATIONS = {
    1: [],
    2: [Image.Transpose.FLIP_LEFT_RIGHT],
    3: [Image.Transpose.ROTATE_180],
    4: [Image.Transpose.FLIP_TOP_BOTTOM],
    5: [Image.Transpose.TRANSPOSE],
    6: [Image.Transpose.ROTATE_90],
    7: [Image.Transpose.TRANSVERSE],
    8: [Image.Transpose.ROTATE_270],
}


@pytest.mark.parametrize("orientation", ROTATIONS)
@pytest.mark.parametrize("shortest", [None, 16])
def test_the_camera_orientation_is_undone(orientation: int, shortest: int | None) -> None:
    stored = picture()
    for step in ROTATIONS[orientation]:
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = decode(encoded(stored, "JPEG", quality=95, exif=exif.tobytes()), shortest=shortest)
    assert difference(upright.resize(SIZE), picture()) < 6


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_orientation_that_does_not_exist_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert difference(decode(encoded(picture(), "JPEG", quality=95, exif=exif.tobytes())), picture()) < 6


def test_a_broken_exif_block_is_ignored() -> None:
    data = encoded(picture(), "JPEG", quality=95, exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff\xff\xff")
    assert difference(decode(data), picture()) < 6


def test_transparent_pixels_become_white() -> None:
    hidden = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    half = Image.new("LA", (8, 8), (0, 128))
    palette = Image.new("P", (8, 8), 0)
    assert decode(encoded(hidden, "PNG")).getpixel((3, 3)) == (255, 255, 255)
    assert decode(encoded(half, "PNG")).getpixel((3, 3)) == (127, 127, 127)
    assert decode(encoded(palette, "PNG", transparency=0)).getpixel((3, 3)) == (255, 255, 255)


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    grey = np.linspace(0, 65535, 64 * 64).reshape(64, 64)
    for data in (
        encoded(Image.fromarray(grey.astype(np.uint16)), "PNG"),
        encoded(Image.fromarray(grey.astype(np.uint16)), "TIFF"),
        encoded(Image.fromarray(grey.astype(np.float32)), "TIFF"),
        encoded(Image.fromarray((grey / 65535).astype(np.float32)), "TIFF"),
    ):
        image = decode(data)
        assert image.getpixel((0, 0)) == (0, 0, 0)
        assert image.getpixel((63, 63)) == (255, 255, 255)
        assert abs(float(np.asarray(image).mean()) - 127.5) < 1


@pytest.mark.parametrize("mode", ["CMYK", "L", "P", "1", "YCbCr"])
def test_other_colour_modes_are_converted(mode: str) -> None:
    stored = picture().convert(mode)
    kind = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    assert difference(decode(encoded(stored, kind)), stored.convert("RGB")) < 8


def test_a_colour_profile_does_no_harm() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert difference(decode(encoded(picture(), "PNG", icc_profile=profile)), picture()) < 1


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(data).getpixel((5, 5)) == (255, 0, 0)


def test_a_large_jpeg_is_decoded_smaller_but_never_too_small() -> None:
    data = encoded(picture().resize((1600, 1200)), "JPEG", quality=95)
    image = decode(data, shortest=200)
    assert image.size == (400, 300)
    assert difference(image.resize(SIZE), picture()) < 3


GOOD_JPEG = encoded(picture(), "JPEG")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"just some text", "not an image of a known format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image of a known format"),
        (GOOD_JPEG[: len(GOOD_JPEG) // 2], "damaged image"),
        (encoded(picture(), "PNG")[:200], "damaged image"),
        (encoded(Image.new("1", (8000, 6000)), "PNG"), "too large: 8000 x 6000 is 48 megapixels, the limit is 40"),
        (encoded(Image.new("1", (30000, 30000)), "PNG"), "too large"),
    ],
)
def test_what_cannot_be_used_has_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        decode(data)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_bytes_give_a_picture_or_a_reason_and_nothing_else(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP"]))
    good = bytearray(encoded(picture(), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert decode(bytes(good)).mode == "RGB"
    except ImageError as error:
        assert str(error)


def test_a_thumbnail_is_small_and_a_small_jpeg_is_kept() -> None:
    large = picture().resize((1200, 800))
    small = Image.open(io.BytesIO(thumbnail(large, encoded(large, "PNG"))))
    assert small.size == (192, 128)
    assert thumbnail(picture(), GOOD_JPEG) == GOOD_JPEG


def test_a_thumbnail_never_carries_the_camera_data_of_its_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(picture(), "JPEG", exif=exif.tobytes())
    assert b"Exif" not in thumbnail(decode(data), data)
