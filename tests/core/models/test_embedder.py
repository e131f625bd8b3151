"""The embedder gives the vectors of torch, whatever the batch and the scale of the decoder."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cbir.models import embedder as embedders
from cbir.models.embedder import Embedder
from cbir.models.self_test import Choice
from tests.support.examples import SampleImages
from tests.support.golden_image import golden_image

GOLDEN = Path(__file__).parents[2] / "golden"


def test_the_golden_vector_of_torch_is_met_from_the_file_on(embedder: Embedder) -> None:
    golden = np.array(json.loads((GOLDEN / f"{embedder.card.name}.json").read_text()))
    vector = embedder.embed([embedder.decode(golden_image(), 40)])[0]
    assert float(vector @ golden) >= 0.9999


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


def test_a_device_that_no_longer_works_is_replaced_by_the_cpu(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The self-test chose it before its driver was removed."""
    monkeypatch.setattr(embedders, "other_devices", lambda: ["cuda"])
    monkeypatch.setattr(embedders, "choose", lambda *_: Choice("fp32", "cuda", {}, {}))
    embedder = Embedder(model_file, threads=1, cache=tmp_path)
    assert embedder.device == "cpu"
    assert "the cpu is used, because cuda failed: the device cuda needs" in caplog.text
    assert embedder.run(np.zeros((1, 224, 224, 3), np.uint8)).shape == (1, 1280)
