"""The embedder gives the vectors of torch, whatever the batch and the scale of the decoder."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cbir.errors import UsageError
from cbir.models import embedder as embedders
from cbir.models.embedder import Embedder, load_embedder
from cbir.models.sealed import find_model
from cbir.models.self_test import Choice
from cbir.settings import Settings
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


def test_a_text_is_nearer_to_its_image_than_to_others(embedder: Embedder, sample_images: SampleImages) -> None:
    from cbir.images.decode import decode

    images = {key: data for key, _, data in sample_images}
    vectors = embedder.embed([decode(images[key]) for key in ("1F600", "1F349", "1F681")])
    words = embedder.embed_text(text for text in ("a grinning face", "a slice of watermelon", "a helicopter"))
    assert words.shape == (3, 1280)
    assert words.dtype == np.float32
    assert np.allclose(np.linalg.norm(words, axis=1), 1, atol=1e-5)
    assert (vectors @ words.T).argmax(axis=0).tolist() == [0, 1, 2]
    assert embedder.embed_text([]).shape == (0, 1280)


def test_texts_come_in_a_list(embedder: Embedder) -> None:
    with pytest.raises(UsageError, match=r"^a list of texts is needed, also for a single text: \[text\]$"):
        embedder.embed_text("red heart")
    with pytest.raises(UsageError, match="^int is not a text$"):
        embedder.embed_text(["red", 5])  # type: ignore[list-item]


def test_a_text_tower_is_loaded_at_the_first_text_and_once(model_file: Path, tmp_path: Path) -> None:
    """A file that is not there does not matter to someone who searches by images."""
    embedder = Embedder(model_file, threads=1, text_model=tmp_path / "missing.onnx")
    with pytest.raises(UsageError, match="cannot read the model .*missing.onnx"):
        embedder.embed_text(["red"])
    (tmp_path / "missing.onnx").write_bytes(find_model("efficientnet_lite0-text").read_bytes())
    assert embedder.embed_text(["red"]).shape == (1, 1280)
    assert embedder.text_tower is embedder.text_tower
    assert embedder.text_tower.path == tmp_path / "missing.onnx"


def test_the_settings_name_a_text_tower(model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "chosen.onnx"
    path.write_bytes(find_model("efficientnet_lite0-text").read_bytes())
    monkeypatch.setenv("CBIR_TEXT_MODEL", str(path))
    assert load_embedder(model_file, Settings(), 1).text_tower.path == path
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CBIR_TEXT_MODEL", "~/chosen.onnx")
    assert Settings().text_model == path
