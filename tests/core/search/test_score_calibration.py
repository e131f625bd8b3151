"""What a score means in a collection: percentiles and the share of one class, for any pairs and any store."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cbir
from cbir.progress import silent
from cbir.records import Vector, digest
from cbir.search.score_calibration import COMMON_WORDS, ScoreCalibration, calibrate, calibrate_texts, of_pairs
from cbir.settings import Settings
from cbir.stores.registry import open_store
from tests.support.building import builder_for, points_of, unit_vectors

fast = settings(max_examples=30, deadline=None)
scores = st.lists(
    st.floats(-1.001, 1.001).map(lambda score: float(np.float32(score))) | st.sampled_from([-1.0, 0.0, 0.5, 1.0]),
    max_size=300,
)
seeds = st.integers(0, 10_000)
units = st.floats(0, 1)


def made(scores: Sequence[float], seed: int = 0) -> ScoreCalibration:
    same = np.random.default_rng(seed).integers(-1, 2, len(scores)).astype(np.int8)
    return of_pairs(np.array(scores, np.float32), same)


@fast
@given(scores, st.lists(st.floats(-1, 1), min_size=2, max_size=10, unique=True), seeds)
def test_both_measures_rise_with_the_score_within_their_bounds(
    scores: list[float], chosen: list[float], seed: int
) -> None:
    found = made(scores, seed)
    percentiles = [found.percentile(score) for score in sorted(chosen)]
    assert all(later >= earlier - 1e-12 for earlier, later in pairwise(percentiles))
    assert 0 <= percentiles[0] <= percentiles[-1] <= 1
    assert (found.percentile(-1), found.percentile(1)) == (0, 1)
    shares = [found.same_class(score) for score in sorted(chosen)]
    given = [share for share in shares if share is not None]
    assert given in ([], shares)
    assert all(later >= earlier - 1e-12 for earlier, later in pairwise(given))
    assert all(0 <= share <= 1 for share in given)


@fast
@given(scores, units, st.floats(-1, 1))
def test_score_and_percentile_are_inverse_of_each_other(scores: list[float], percentile: float, score: float) -> None:
    found = made(scores)
    assert found.percentile(found.score_at(percentile)) == pytest.approx(percentile, abs=1e-9)
    assert found.score_at(found.percentile(score)) == pytest.approx(score, abs=1e-9)


@fast
@given(scores)
def test_a_percentile_counts_the_pairs_that_are_less_alike(scores: list[float]) -> None:
    found, pairs = made(scores), np.array(scores, np.float32)
    for score in (score for score in scores if abs(score) < 0.999):
        less, more = (pairs < score - 2e-5).mean(), (pairs > score + 2e-5).mean()
        assert less <= found.percentile(score) <= 1 - more


def test_the_share_of_one_class_is_that_of_the_pairs_around_a_score() -> None:
    chance = np.random.default_rng(1)
    scores = chance.uniform(0, 1, 200_000).astype(np.float32)
    found = of_pairs(scores, (chance.uniform(0, 1, len(scores)) < scores**2).astype(np.int8))
    for score in (0.1, 0.3, 0.5, 0.7, 0.9):
        assert found.same_class(score) == pytest.approx(score**2, abs=0.05)
    assert (np.diff(found.class_shares) >= 0).all()
    assert len(found.class_shares) > 50


def test_the_share_of_one_class_never_falls() -> None:
    low, high = np.full(100, 0.2, np.float32), np.full(100, 0.8, np.float32)
    same = np.repeat([1, 0], 100).astype(np.int8)
    found = of_pairs(np.concatenate([low, high]), same)
    assert [found.same_class(score) for score in (0.0, 0.2, 0.8, 1.0)] == [0.5] * 4


def test_few_pairs_give_no_share_of_classes() -> None:
    scores = np.linspace(0, 0.5, 100, dtype=np.float32)
    assert of_pairs(scores, np.ones(100, np.int8)).same_class(0.5) == 1
    assert of_pairs(scores[1:], np.ones(99, np.int8)).same_class(0.5) is None


def test_a_collection_without_labels_has_only_percentiles(tmp_path: Path) -> None:
    found = stored(tmp_path, unit_vectors(30), [None] * 30)
    assert found.same_class(0.5) is None
    assert 0.9 < found.percentile(0.8) < 1


@pytest.mark.parametrize("count", [1, 2])
def test_a_collection_of_one_or_two_points_has_an_answer(count: int, tmp_path: Path) -> None:
    found = stored(tmp_path, unit_vectors(count), ["first"] * count)
    assert 0 <= found.percentile(0.3) <= found.percentile(0.9) <= 1
    assert found.score_at(found.percentile(0.3)) == pytest.approx(0.3)
    assert found.same_class(0.3) is None


@pytest.mark.parametrize("gone", ["vectors", "payloads"])
def test_points_that_are_deleted_meanwhile_are_left_out(
    gone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = stored(tmp_path, unit_vectors(30), ["first"] * 30)
    store = open_store(f"faiss:{tmp_path}", "made", Settings())
    read = getattr(store, gone)
    monkeypatch.setattr(store, gone, lambda ids: [None, *read(ids)[1:]])
    found = calibrate(store)
    assert len(found.scores) < len(expected.scores)
    assert found.same_class(0.5) == 1


def test_equal_vectors_have_an_answer(tmp_path: Path) -> None:
    found = stored(tmp_path, np.repeat(unit_vectors(1), 30, axis=0), ["first", "second"] * 15)
    assert found.percentile(1) == 1
    assert found.score_at(1) == pytest.approx(1)
    assert found.same_class(1) == pytest.approx(14 / 29, abs=0.02)


def test_pairs_of_a_whole_collection(tmp_path: Path) -> None:
    vectors = unit_vectors(80)
    labels = [("first", "second", None)[number % 3] for number in range(80)]
    found = stored(tmp_path, vectors, labels)
    pairs = (vectors @ vectors.T)[np.triu_indices(80, 1)]
    for score in (-0.5, 0.0, 0.3, 0.6):
        assert found.percentile(score) == pytest.approx((pairs < score).mean(), abs=1e-3)
    assert found.same_class(pairs.mean()) == pytest.approx(702 / 1431, abs=0.05)  # of 27 points with each label


def words_of(found: list[list[str]]) -> Callable[[list[str]], Vector]:
    """Return what embeds texts as random vectors, and adds the texts to a list."""

    def embed(texts: list[str]) -> Vector:
        found.append(texts)
        return np.stack([unit_vectors(1, seed=int(digest({"text": text})[:8], 16))[0] for text in texts])

    return embed


def test_texts_are_calibrated_by_their_pairs_with_images(tmp_path: Path) -> None:
    vectors = unit_vectors(80)
    labels = [("first", "second", None)[number % 3] for number in range(80)]
    stored(tmp_path, vectors, labels)
    embedded: list[list[str]] = []
    found = calibrate_texts(open_store(f"faiss:{tmp_path}", "made", Settings()), words_of(embedded))
    (texts,) = embedded
    assert sorted(texts[:2]) == ["first", "second"], "labels come first"
    assert texts[2:] == COMMON_WORDS.split()
    assert found.of_texts
    pairs = words_of([])(texts) @ vectors.T
    for score in (-0.5, 0.0, 0.3, 0.6):
        assert found.percentile(score) == pytest.approx((pairs < score).mean(), abs=1e-3)
    own = [[label == text for label in labels] for text in texts[:2]]
    assert found.class_shares.min() >= 0
    assert found.same_class(1.0) is not None
    assert found.same_class(float(np.mean(pairs[:2]))) == pytest.approx(np.mean(own), abs=0.1)


def test_a_text_and_the_images_with_it_as_label_are_one_class(tmp_path: Path) -> None:
    """The texts are where their images are: then a high score says that the label is the image's own."""
    vectors = np.repeat(unit_vectors(2, 3), 60, axis=0)
    stored(tmp_path, vectors, ["first"] * 60 + ["second"] * 60)
    places = {"first": vectors[0], "second": vectors[-1]}

    def embed(texts: list[str]) -> Vector:
        return np.stack([places.get(text, -vectors[0]) for text in texts])

    found = calibrate_texts(open_store(f"faiss:{tmp_path}", "made", Settings()), embed)
    assert found.same_class(1.0) == 1
    assert found.same_class(float(vectors[0] @ vectors[-1])) == pytest.approx(0, abs=1e-4)


def test_a_label_that_is_a_common_word_is_a_text_once(tmp_path: Path) -> None:
    stored(tmp_path, unit_vectors(30), ["shoe", "shoe", "  "] * 10)
    embedded: list[list[str]] = []
    found = calibrate_texts(open_store(f"faiss:{tmp_path}", "made", Settings()), words_of(embedded))
    assert embedded[0][0] == "shoe" and embedded[0].count("shoe") == 1
    assert "  " not in embedded[0], "an empty text could not be embedded"
    assert len(embedded[0]) == len(COMMON_WORDS.split())
    assert found.same_class(0.0) is None, "30 pairs of a label and an image are too few"


def test_only_frequent_and_short_labels_are_texts(tmp_path: Path) -> None:
    """A collection may have a label for each image, and a label of any length."""
    labels = ["often"] * 3 + [f"label {number}" for number in range(250)] + ["x" * 201] * 3 + ["y" * 200] * 3
    stored(tmp_path, unit_vectors(len(labels)), labels)
    embedded: list[list[str]] = []
    calibrate_texts(open_store(f"faiss:{tmp_path}", "made", Settings()), words_of(embedded))
    assert "often" in embedded[0] and "y" * 200 in embedded[0] and "x" * 201 not in embedded[0]
    assert len(embedded[0]) == 199 + len(COMMON_WORDS.split())  # of the 200 most frequent labels one is too long


def test_texts_of_a_collection_without_labels_have_only_percentiles(tmp_path: Path) -> None:
    stored(tmp_path, unit_vectors(30), [None] * 30)
    embedded: list[list[str]] = []
    found = calibrate_texts(open_store(f"faiss:{tmp_path}", "made", Settings()), words_of(embedded))
    assert embedded == [COMMON_WORDS.split()]
    assert found.same_class(0.5) is None and 0.8 < found.percentile(0.8) < 1


@pytest.mark.parametrize("count", [0, 1])
def test_texts_have_an_answer_when_points_are_deleted_meanwhile(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(tmp_path, unit_vectors(3), ["first"] * 3)
    store = open_store(f"faiss:{tmp_path}", "made", Settings())
    read = store.vectors
    monkeypatch.setattr(store, "vectors", lambda ids: [*read(ids)[:count], *[None] * (3 - count)])
    embedded: list[list[str]] = []
    found = calibrate_texts(store, words_of(embedded))
    assert len(embedded) == count
    assert found.of_texts and (found.percentile(-1), found.percentile(1)) == (0, 1)


def test_the_calibration_of_texts_is_that_of_the_real_tower(example_photos: cbir.Collection) -> None:
    """Scores of texts are lower than those of images, which is why they have a calibration of their own."""
    store, embed = example_photos.store, example_photos.embedder.embed_text
    words, images = calibrate_texts(store, embed), calibrate(store)
    assert np.array_equal(words.scores, calibrate_texts(store, embed).scores), "it is the same each time"
    best = example_photos.search(text="red heart", limit=1)[0].score
    assert words.percentile(best) > 0.99
    assert words.percentile(best) > images.percentile(best) + 0.05
    own, other = words.same_class(words.score_at(0.999)), words.same_class(words.score_at(0.5))
    assert own is not None and other is not None and own > other


def stored(root: Path, vectors: Vector, labels: Sequence[str | None]) -> ScoreCalibration:
    """Return the calibration of a collection of these vectors and labels."""
    points = []
    for point, label in zip(points_of(vectors), labels, strict=True):
        payload = {**point.payload, "label": label}
        points.append(replace(point, payload=payload, digest=digest(payload)))
    builder = builder_for([f"faiss:{root}"], vectors)
    builder.write(points)
    builder.publish(silent)
    builder.close()
    return calibrate(open_store(f"faiss:{root}", "made", Settings()))
