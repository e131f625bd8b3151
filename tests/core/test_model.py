"""Model files: self-describing, sealed, and the same function for everybody."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from cbir.errors import CbirError, UsageError
from cbir.models.embedder import Embedder
from cbir.models.sealed import BLANK_CHECKSUM, CHECKSUM_FIELD, checksum_of, find_model, read_sealed, seal
from tests.support.examples import SampleImages
from tests.support.golden_image import golden_image

GOLDEN = Path(__file__).parents[1] / "golden"


def test_the_golden_vector_of_torch_is_met_from_the_file_on(embedder: Embedder) -> None:
    golden = np.array(json.loads((GOLDEN / f"{embedder.card.name}.json").read_text()))
    vector = embedder.embed([embedder.decode(golden_image(), 40)])[0]
    assert float(vector @ golden) >= 0.9999


def test_the_packaged_model_says_what_it_is(embedder: Embedder, model_file: Path) -> None:
    card = embedder.card
    assert (card.name, card.dimension, card.license, card.random_weights) == (
        "efficientnet_lite0",
        1280,
        "Apache-2.0",
        False,
    )
    assert card.weights_sha256 == "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    assert card.to_torch is not None
    assert card.to_torch.cosine_min >= 0.9999
    assert model_file.stat().st_size <= 7.5e6
    assert b"/site-packages/" not in model_file.read_bytes()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(width=st.integers(1, 700), height=st.integers(1, 700), seed=st.integers(0, 99))
def test_pixels_are_those_of_resize_and_centre_crop(embedder: Embedder, width: int, height: int, seed: int) -> None:
    """Against the two steps of torchvision, done with Pillow, on smooth waves.

    On noise Pillow's two passes clip in between, in an order that it chooses by the sizes. On waves it rounds up to one
    value in forty to the other side (257 x 334).
    """
    assume(max(width, height) <= 40 * min(width, height))
    phases = np.random.default_rng(seed).uniform(0, 6, (3, 2))
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 60 * np.sin(x / 9 + one) + 60 * np.cos(y / 7 + two) for one, two in phases]
    image, rule = Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8)), embedder.card.input
    short, long = min(width, height), max(width, height)
    target = int(rule.resize * long / short)
    full = image.resize((rule.resize, target) if width <= height else (target, rule.resize), Image.Resampling.BICUBIC)
    left, top = (round((side - rule.size) / 2.0) for side in full.size)
    expected = full.crop((left, top, left + rule.size, top + rule.size))
    difference = np.abs(np.asarray(expected, np.int16) - np.asarray(embedder.pixels(image), np.int16))
    assert difference.max() <= 2
    assert difference.mean() < 0.05


def test_vectors_have_length_one_and_do_not_depend_on_the_batch(embedder: Embedder) -> None:
    rng = np.random.default_rng(1)
    images = [Image.fromarray(rng.integers(0, 256, (50 + 9 * n, 80, 3), np.uint8)) for n in range(5)]
    images.append(Image.new("RGB", (10, 10), "black"))
    together = embedder.embed(images)
    assert together.shape == (6, 1280)
    assert together.dtype == np.float32
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    alone = np.concatenate([embedder.embed([image]) for image in images])
    assert (together * alone).sum(axis=1).min() > 0.99999
    assert embedder.embed([]).shape == (0, 1280)


def test_a_scaled_decode_means_the_same(embedder: Embedder, sample_images: SampleImages) -> None:
    import io

    from cbir.images.decode import decode

    for _, _, data in sample_images[:8]:
        buffer = io.BytesIO()
        decode(data).resize((3000, 3000), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=92)
        scaled = embedder.decode(buffer.getvalue(), 40)
        assert scaled.size == (750, 750)
        a, b = embedder.embed([scaled, decode(buffer.getvalue())])
        assert float(a @ b) >= 0.995


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_changed_byte_is_noticed(model_file: Path, tmp_path: Path, data: st.DataObject) -> None:
    good = bytearray(model_file.read_bytes())
    good[data.draw(st.integers(0, len(good) - 1))] ^= data.draw(st.integers(1, 255))
    changed = tmp_path / "changed.onnx"
    changed.write_bytes(good)
    with pytest.raises(CbirError):
        read_sealed(changed)


def test_a_seal_is_of_everything_but_itself() -> None:
    head, tail = b"begin\x0a" + bytes([len(CHECKSUM_FIELD)]) + CHECKSUM_FIELD.encode() + b"\x12\x40", b"end"
    sealed = seal(head + BLANK_CHECKSUM.encode() + tail)
    assert seal(sealed) == sealed
    assert checksum_of(sealed) != checksum_of(seal(head + BLANK_CHECKSUM.encode() + b"End"))


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "text": lambda data: b"<html>404</html>",
    "truncated": lambda data: data[: len(data) // 2],
    "another seal": lambda data: data.replace(checksum_of(data).encode(), b"a" * 64),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_is_no_model_is_one_line(change: str, model_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(CHANGES[change](model_file.read_bytes()))
    with pytest.raises(CbirError, match="model.onnx") as caught:
        Embedder(path)
    assert "\n" not in str(caught.value)


def test_a_sealed_file_that_is_no_onnx_is_refused(tmp_path: Path) -> None:
    field = CHECKSUM_FIELD.encode()
    fake = b"junk\x0a" + bytes([len(field)]) + field + b"\x12\x40" + BLANK_CHECKSUM.encode() + b"junk"
    (tmp_path / "fake.onnx").write_bytes(seal(fake))
    with pytest.raises(UsageError, match="not a model that onnxruntime can load"):
        Embedder(tmp_path / "fake.onnx")


def test_an_unknown_model_names_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"no model 'resnet'.*efficientnet_lite0"):
        find_model("resnet")
