"""The metrics of `cbir-bench text` against slow ones of their definitions."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cbir.bench.text import measure as module
from cbir.bench.text.measure import RANKS, Options, measure

from cbir.errors import UsageError
from cbir.evaluation.captions import Captioned, is_held_out
from cbir.models.card import CaptionTraining
from cbir.records import Vector
from cbir.settings import Settings
from tests.support.building import unit_vectors
from tests.support.text_file import text_card

COUNT, DIMENSION = 60, 12
CLASSES = ("bag", "shoe", "watch")
OPTIONS = Options("made", ["title"], None, None, None, None, "{}")


class MadeEmbedder:
    """An embedder whose texts have made-up vectors."""

    def __init__(self, texts: dict[str, Vector], training: CaptionTraining | None):
        self.texts, self.sha256 = texts, "1" * 64
        self.card: Any = SimpleNamespace(name="made", arithmetic="fp32", random_weights=False)
        card = replace(text_card(("1" * 64,)), training=training, random_weights=False)
        self.text_tower = SimpleNamespace(card=card, sha256="2" * 64)

    def embed_text(self, texts: list[str]) -> Vector:
        return np.stack([self.texts[text] for text in texts])


def made(training: CaptionTraining | None, monkeypatch: pytest.MonkeyPatch) -> tuple[Captioned, dict[str, Vector]]:
    rng = np.random.default_rng(3)
    images = unit_vectors(COUNT, seed=4, dimension=DIMENSION)
    captions = [[f"{row} {number}" for number in range(1 + row % 3)] for row in range(COUNT)]
    names = [caption for of_image in captions for caption in of_image]
    rows = [row for row, of_image in enumerate(captions) for _ in of_image]
    noisy = images[rows] + 0.7 * rng.normal(size=(len(rows), DIMENSION))
    texts = dict(zip(names, (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32), strict=True))
    texts |= dict(zip(CLASSES, unit_vectors(3, seed=9, dimension=DIMENSION), strict=True))
    labels = [CLASSES[row % 3] if row % 5 else None for row in range(COUNT)]
    found = Captioned("made", images, [f"{row}.jpg" for row in range(COUNT)], captions, labels)
    embedder = MadeEmbedder(texts, training)
    monkeypatch.setattr(module, "load_embedder", lambda *_, **__: embedder)
    monkeypatch.setattr(module, "read_captioned", lambda *_, **__: found)
    return found, texts


def test_recalls_and_labels_are_as_defined(monkeypatch: pytest.MonkeyPatch) -> None:
    found, texts = made(None, monkeypatch)
    (result,) = measure([Path("made.onnx")], OPTIONS, Settings())
    owned = [(row, caption) for row, captions in enumerate(found.captions) for caption in captions]
    assert (result.images, result.captions, result.unseen) == (COUNT, len(owned), False)
    for k in RANKS:
        of_texts = [row in np.argsort(-(found.vectors @ texts[caption]))[:k] for row, caption in owned]
        assert result.text_to_image[k].value == pytest.approx(np.mean(of_texts))
        every = np.stack([texts[caption] for _, caption in owned])
        of_images = []
        for row in range(COUNT):
            best = np.argsort(-(every @ found.vectors[row]))
            first = next(rank for rank, position in enumerate(best) if owned[position][0] == row)
            of_images.append(first < k)
        assert result.image_to_text[k].value == pytest.approx(np.mean(of_images))
        assert result.image_to_text[k].low < result.image_to_text[k].value <= result.image_to_text[k].high
    names = np.stack([texts[name] for name in CLASSES])
    labelled = [row for row, label in enumerate(found.labels) if label]
    right = [CLASSES[(names @ found.vectors[row]).argmax()] == found.labels[row] for row in labelled]
    assert result.zero_shot is not None
    assert (result.classes, result.labelled) == (3, len(labelled))
    assert result.zero_shot.value == pytest.approx(np.mean(right))
    hits = []
    for name in CLASSES:
        best = sorted(labelled, key=lambda row: -float(texts[name] @ found.vectors[row]))[:10]
        hits.append(np.mean([found.labels[row] == name for row in best]))
    assert result.class_hits == pytest.approx(np.mean(hits))


def test_what_a_tower_learned_from_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = made(CaptionTraining("made", "title", 40, 42, {}), monkeypatch)
    (result,) = measure([Path("made.onnx")], OPTIONS, Settings())
    assert result.unseen
    assert result.images == sum(is_held_out(key, 42) for key in found.keys) < COUNT
    made(CaptionTraining("another", "title", 40, 42, {}), monkeypatch)
    assert measure([Path("made.onnx")], OPTIONS, Settings())[0].images == COUNT
    made(CaptionTraining("made", "title", 40, 42, {}), monkeypatch)
    monkeypatch.setattr(module, "is_held_out", lambda *_: False)
    with pytest.raises(UsageError, match="the text tower learned from all of these images of made"):
        measure([Path("made.onnx")], OPTIONS, Settings())
