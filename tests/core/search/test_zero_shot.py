"""Zero-shot labels on every kind of store, compared with a softmax over all pairs."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cbir.errors import UsageError
from cbir.filters.conditions import matches
from cbir.filters.parser import parse_filter
from cbir.models.embedder import Embedder
from cbir.models.sealed import checksum_of
from cbir.records import Vector
from cbir.search import zero_shot
from cbir.search.zero_shot import ZeroShotLabel, classified, label_vectors
from cbir.stores.base import Store
from tests.support.building import unit_vectors
from tests.support.contract import BY_ID, COUNT, KINDS, POINTS, fast
from tests.support.onnx_file import cast, node, write_model
from tests.support.text_file import text_card, write_tower

LABELS = ("a shoe", "a bag", "a watch")


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, contract_stores: dict[str, Store]) -> Store:
    return contract_stores[request.param]


@pytest.fixture(scope="module")
def small_embedder(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    """A small image model with a text tower whose template is `a {}`."""
    folder = tmp_path_factory.mktemp("zero-shot")
    model = write_model(folder / "made.onnx", [cast("images", "floats"), node("Flatten", "floats", "embeddings")])
    write_tower(folder / "made-text.onnx", text_card((checksum_of(model.read_bytes()),)))
    return Embedder(model, device="cpu", cache=folder / "cache")


def softmax(vector: Vector, texts: Vector, scale: float) -> Any:
    powers = np.exp(scale * (texts.astype(float) @ vector))
    return powers / powers.sum()


@fast
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(2, 30),
    scale=st.floats(0.1, 100),
    text=st.sampled_from(["", "label=Bags", "year>2011 and new=true", "tags=red|blue", "label="]),
)
def test_the_label_is_that_of_the_largest_share(store: Store, seed: int, count: int, scale: float, text: str) -> None:
    texts, labels = unit_vectors(count, seed), [f"label {number}" for number in range(count)]
    filter = parse_filter(text) if text else ()
    found = list(classified(store, filter, labels, texts, scale))
    assert [image.id for image in found] == sorted(point.id for point in POINTS if matches(point.payload, filter))
    for image in found:
        shares = softmax(BY_ID[image.id].vector, texts, scale)
        assert image.key == BY_ID[image.id].payload["key"]
        assert image.score == pytest.approx(shares.max(), abs=2e-3)
        assert shares[labels.index(image.label)] == pytest.approx(shares.max(), abs=2e-3)
        assert 1 / count - 1e-6 <= image.score <= 1 + 1e-6


def test_large_collections_are_read_in_batches(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = unit_vectors(3, 1)
    expected = list(classified(store, (), LABELS, texts, 20.0))
    sizes: list[int] = []
    read = store.vectors

    def vectors(ids: Sequence[str]) -> list[Vector | None]:
        sizes.append(len(ids))
        return list(read(ids))

    monkeypatch.setattr(zero_shot, "_BATCH", 150)
    monkeypatch.setattr(store, "vectors", vectors)
    assert list(classified(store, (), LABELS, texts, 20.0)) == expected
    assert sizes == [150, 150, COUNT - 300]


def test_points_that_are_deleted_meanwhile_are_left_out(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = unit_vectors(3, 1)
    expected = list(classified(store, (), LABELS, texts, 20.0))
    read = store.vectors
    monkeypatch.setattr(store, "vectors", lambda ids: [None, *read(ids)[1:]])
    assert list(classified(store, (), LABELS, texts, 20.0)) == expected[1:]


def test_a_large_scale_does_not_overflow(store: Store) -> None:
    found = list(classified(store, (), LABELS, unit_vectors(3, 1), 1e6))
    assert {round(image.score, 3) for image in found} == {1.0}


def test_labels_are_put_into_a_template(small_embedder: Embedder) -> None:
    def vectors(*texts: str) -> Vector:
        return small_embedder.embed_text(texts)

    labels = ["red", "blue"]
    assert np.allclose(label_vectors(labels, None, small_embedder), vectors("a red", "a blue"))
    assert np.allclose(label_vectors(labels, "{}", small_embedder), vectors("red", "blue"))
    twice = label_vectors(labels, "{} heart {}", small_embedder)
    assert np.allclose(twice, vectors("red heart red", "blue heart blue"))
    assert not np.allclose(twice, vectors("red heart", "blue heart"))
    braces = label_vectors(["{}", "{0.__class__}"], "{} train", small_embedder)
    assert np.allclose(braces, vectors("{} train", "{0.__class__} train")), "a label is not a template"


def test_the_template_of_the_packaged_tower_is_the_label_alone(embedder: Embedder) -> None:
    labels = ["a face", "a flag"]
    assert np.allclose(label_vectors(labels, None, embedder), embedder.embed_text(labels))


@pytest.mark.parametrize(
    ("labels", "template", "message"),
    [
        ([], None, "give at least two labels, each of them once, such as ['cat', 'dog']"),
        (["red"], None, "give at least two labels, each of them once, such as ['cat', 'dog']"),
        (["red", "red"], None, "give at least two labels, each of them once, such as ['cat', 'dog']"),
        ("red", None, "give at least two labels, each of them once, such as ['cat', 'dog']"),
        (["red", "blue"], "a photo", "the template 'a photo' has no {} where a label goes, as in 'a photo of a {}'"),
        (["red", "blue"], "", "the template '' has no {} where a label goes, as in 'a photo of a {}'"),
        (["red", " "], None, "the text is empty. Enter a word or a sentence."),
        (["red", ""], "a {}", "the text is empty. Enter a word or a sentence."),
        (["red", 7], None, "int is not a text"),
        (["red", None], "a {}", "NoneType is not a text"),
        (["red", "x" * 2001], "{}", "the text has 2,001 characters; the limit is 2,000"),
    ],
)
def test_labels_that_cannot_be_used_are_one_line(
    labels: Any, template: str | None, message: str, small_embedder: Embedder
) -> None:
    with pytest.raises(UsageError) as caught:
        label_vectors(labels, template, small_embedder)
    assert str(caught.value) == message


def test_a_model_without_text_tower_has_no_labels(tmp_path: Path) -> None:
    model = write_model(tmp_path / "made.onnx", [cast("images", "floats"), node("Flatten", "floats", "embeddings")])
    with pytest.raises(UsageError, match="made has no text tower"):
        label_vectors(["red", "blue"], None, Embedder(model, device="cpu", cache=tmp_path / "cache"))


def test_a_label_is_a_value() -> None:
    label = ZeroShotLabel("1", "a.png", "red", 0.5)
    assert asdict(label) == {"id": "1", "key": "a.png", "label": "red", "score": 0.5}
    assert label == ZeroShotLabel("1", "a.png", "red", 0.5) and hash(label)
