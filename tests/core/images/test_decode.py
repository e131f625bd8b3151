"""The decoder gives an upright RGB image of any file, or the reason why it cannot."""

import io
import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from cbir.errors import ImageError
from cbir.images.decode import decode, thumbnail
from cbir.models.embedder import Embedder
from tests.support.examples import SampleImages
from tests.support.golden_image import golden_image
from tests.support.hostile.encoders import (
    ORIENTATION,
    encoded,
    gradient_image,
    overwritten,
    rgb48_png,
    sixteen_bits,
    tiff,
    tiff_fields,
    with_exif,
    ycck_jpeg,
)

SIZE = (96, 64)


def difference(image: Image.Image, other: Image.Image) -> float:
    assert image.size == other.size
    assert image.mode == "RGB"
    return float(np.abs(np.asarray(image, np.float32) - np.asarray(other.convert("RGB"), np.float32)).mean())


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP", "JPEG", "AVIF", "GIF"])
def test_every_format_gives_the_image(kind: str) -> None:
    options = {"quality": 95} if kind in ("JPEG", "WEBP", "AVIF") else {}
    assert difference(decode(encoded(gradient_image(), kind, **options)), gradient_image()) < 6


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
    stored = gradient_image()
    for step in ROTATIONS[orientation]:
        stored = stored.transpose(step)
    upright = decode(encoded(stored, "JPEG", quality=95, exif=exif_of(orientation)), shortest=shortest)
    assert difference(upright.resize(SIZE), gradient_image()) < 6


def exif_of(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif.tobytes()


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_orientation_that_does_not_exist_is_ignored(orientation: int) -> None:
    assert (
        difference(decode(encoded(gradient_image(), "JPEG", quality=95, exif=exif_of(orientation))), gradient_image())
        < 6
    )


def test_a_broken_field_beside_the_orientation_does_not_cost_it() -> None:
    maker = (0x010F, 5, 1, 8)  # a fraction where text belongs, which Pillow reads and cannot write
    upright = decode(with_exif(tiff_fields([maker, (ORIENTATION, 3, 1, 6)])))
    assert difference(upright.transpose(Image.Transpose.ROTATE_90), gradient_image()) < 6


def test_a_broken_exif_block_is_ignored() -> None:
    data = encoded(gradient_image(), "JPEG", quality=95, exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff\xff\xff")
    assert difference(decode(data), gradient_image()) < 6


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
    stored = gradient_image().convert(mode)
    kind = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    assert difference(decode(encoded(stored, kind)), stored.convert("RGB")) < 8


def test_a_colour_profile_does_no_harm() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert difference(decode(encoded(gradient_image(), "PNG", icc_profile=profile)), gradient_image()) < 1


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(data).getpixel((5, 5)) == (255, 0, 0)


def test_a_large_jpeg_is_decoded_smaller_but_never_too_small() -> None:
    data = encoded(gradient_image().resize((1600, 1200)), "JPEG", quality=95)
    image = decode(data, shortest=200)
    assert image.size == (400, 300)
    assert difference(image.resize(SIZE), gradient_image()) < 3


GOOD_JPEG = encoded(gradient_image(), "JPEG")
GOOD_BMP = encoded(gradient_image(), "BMP")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"just some text", "not an image of a known format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image of a known format"),
        (GOOD_JPEG[: len(GOOD_JPEG) // 2], "damaged image"),
        (encoded(gradient_image(), "PNG")[:200], "damaged image"),
        (tiff(8, 8, (259, 3, 1, 31337)), "unsupported image: unknown compression 31337"),
        (tiff(8, 8, (262, 3, 1, 32803)), "unsupported image: unknown pixel mode"),
        (overwritten(GOOD_BMP, 30, b"\4"), r"unsupported image: Unsupported BMP compression \(4\)"),
        (encoded(Image.new("1", (8000, 6000)), "PNG"), "too large: 8000 x 6000 is 48 megapixels, the limit is 40"),
        (encoded(Image.new("1", (30000, 30000)), "PNG"), "too large"),
    ],
)
def test_what_cannot_be_used_has_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        decode(data)


def test_libtiff_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """Its lines name no file, and Pillow raises what they say."""
    good = encoded(gradient_image(), "TIFF", compression="tiff_lzw")
    with pytest.raises(ImageError, match="damaged image"):
        decode(overwritten(good, 100, b"\xff" * 300))
    assert capfd.readouterr().err == ""


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_bytes_give_a_image_or_a_reason_and_nothing_else(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP"]))
    good = bytearray(encoded(gradient_image(), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert decode(bytes(good)).mode == "RGB"
    except ImageError as error:
        assert str(error)


def test_a_thumbnail_is_small_and_a_small_jpeg_is_kept() -> None:
    large = gradient_image().resize((1200, 800))
    small = Image.open(io.BytesIO(thumbnail(large, encoded(large, "PNG"))))
    assert small.size == (192, 128)
    assert thumbnail(gradient_image(), GOOD_JPEG) == GOOD_JPEG


def test_a_thumbnail_never_carries_the_camera_data_of_its_image() -> None:
    rotated = encoded(gradient_image(), "JPEG", exif=exif_of(6))
    described = encoded(gradient_image(), "JPEG", xmp=b"<x:xmpmeta tiff:Orientation='6'/>", comment=b"a comment")
    for data in (rotated, described, encoded(gradient_image().resize((300, 200)), "JPEG", comment=b"a comment" * 1000)):
        small = thumbnail(decode(data), data)
        assert len(small) < 8192
        assert not any(word in small for word in (b"Exif", b"xmpmeta", b"a comment"))


def grey(image: Image.Image) -> Image.Image:
    return image.convert("L").convert("RGB")


def few_colours(image: Image.Image) -> Image.Image:
    return image.quantize(200).convert("RGB")


def with_hole(image: Image.Image) -> Image.Image:
    """The image with its left third transparent, over hidden colours."""
    alpha = Image.new("L", image.size, 255)
    alpha.paste(0, (0, 0, image.width // 3, image.height))
    holed = image.copy()
    holed.putalpha(alpha)
    return holed


def white_third(image: Image.Image) -> Image.Image:
    whitened = image.copy()
    whitened.paste("white", (0, 0, image.width // 3, image.height))
    return whitened


def palette_with_hole(image: Image.Image) -> Image.Image:
    holed = few_colours(image).quantize(200, dither=Image.Dither.NONE)
    holed.putpalette(bytes(holed.getpalette() or ()).ljust(768, b"\0"))  # as far as colour 255, which is the hole
    holed.paste(255, (0, 0, image.width // 3, image.height))
    return holed


def same(image: Image.Image) -> Image.Image:
    return image


def as_jpeg(image: Image.Image) -> Image.Image:
    """Return the image after JPEG coding, to which the model is sensitive on flat colours."""
    return decode(encoded(image, "JPEG", quality=100, subsampling=0))


def floats(image: Image.Image, peak: float) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.float32) / 255 * peak)


Variant = tuple[Callable[[Image.Image], Image.Image], Callable[[Image.Image], bytes]]
VARIANTS: dict[str, Variant] = {
    "CMYK JPEG": (same, lambda image: encoded(image.convert("CMYK"), "JPEG", quality=100)),
    "YCCK JPEG": (as_jpeg, ycck_jpeg),
    "CMYK TIFF": (same, lambda image: encoded(image.convert("CMYK"), "TIFF")),
    "progressive JPEG": (
        as_jpeg,
        lambda image: encoded(image, "JPEG", quality=100, subsampling=0, progressive=True),
    ),
    "palette PNG": (few_colours, lambda image: encoded(few_colours(image).quantize(256), "PNG")),
    "palette GIF": (few_colours, lambda image: encoded(few_colours(image).quantize(256), "GIF")),
    "palette BMP": (few_colours, lambda image: encoded(few_colours(image).quantize(256), "BMP")),
    "palette TIFF": (few_colours, lambda image: encoded(few_colours(image).quantize(256), "TIFF")),
    "16-bit RGB PNG": (same, rgb48_png),
    "16-bit grey PNG": (grey, lambda image: encoded(sixteen_bits(image), "PNG")),
    "16-bit grey TIFF": (grey, lambda image: encoded(sixteen_bits(image), "TIFF")),
    "16-bit big-endian TIFF": (grey, lambda image: encoded(sixteen_bits(image, "I;16B"), "TIFF")),
    "float TIFF to 1": (grey, lambda image: encoded(floats(image, 1), "TIFF")),
    "float TIFF to 255": (grey, lambda image: encoded(floats(image, 255), "TIFF")),
    "float TIFF to 65535": (grey, lambda image: encoded(floats(image, 65535), "TIFF")),
    "grey JPEG": (lambda image: as_jpeg(grey(image)), lambda image: encoded(image.convert("L"), "JPEG", quality=100)),
    "opaque RGBA PNG": (same, lambda image: encoded(image.convert("RGBA"), "PNG")),
    "opaque LA PNG": (grey, lambda image: encoded(image.convert("LA"), "PNG")),
    "RGBA PNG": (white_third, lambda image: encoded(with_hole(image), "PNG")),
    "RGBA WebP": (white_third, lambda image: encoded(with_hole(image), "WEBP", lossless=True, exact=True)),
    "RGBA TIFF": (white_third, lambda image: encoded(with_hole(image), "TIFF")),
    "RGBA AVIF": (white_third, lambda image: encoded(with_hole(image), "AVIF", quality=100, subsampling="4:4:4")),
    "LA PNG": (lambda image: white_third(grey(image)), lambda image: encoded(with_hole(image).convert("LA"), "PNG")),
    "palette PNG with a hole": (
        lambda image: white_third(few_colours(image)),
        lambda image: encoded(palette_with_hole(image), "PNG", transparency=255),
    ),
    "palette GIF with a hole": (
        lambda image: white_third(few_colours(image)),
        lambda image: encoded(palette_with_hole(image), "GIF", transparency=255),
    ),
}


@pytest.fixture(scope="module")
def motifs(sample_images: SampleImages) -> list[Image.Image]:
    """Five images that differ, one of them with texture all over."""
    return [decode(golden_image()), *(decode(data) for _, _, data in sample_images[::80])]


def cosines(embedder: Embedder, plain: list[Image.Image], files: list[bytes]) -> list[float]:
    """The cosines between images and the files that should mean the same."""
    expected = embedder.embed(plain)
    found = embedder.embed([embedder.decode(data, 40) for data in files])
    return [float(a @ b) for a, b in zip(expected, found, strict=True)]


@pytest.mark.parametrize("name", VARIANTS)
def test_a_colour_mode_keeps_the_meaning(name: str, embedder: Embedder, motifs: list[Image.Image]) -> None:
    plain, file = VARIANTS[name]
    assert min(cosines(embedder, [plain(image) for image in motifs], [file(image) for image in motifs])) >= 0.99


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_every_orientation_keeps_the_meaning(kind: str, embedder: Embedder, motifs: list[Image.Image]) -> None:
    exact: dict[str, object] = {"lossless": True, "method": 0}
    options = exact if kind == "WEBP" else {"quality": 100, "subsampling": "4:4:4", "speed": 10}
    plain, files = [], []
    for image, (orientation, steps) in itertools.product(motifs[:2], ROTATIONS.items()):
        stored = image
        for step in steps:
            stored = stored.transpose(step)
        plain.append(decode(encoded(image, kind, **options)))
        files.append(encoded(stored, kind, exif=exif_of(orientation), **options))
    assert min(cosines(embedder, plain, files)) >= 0.99
