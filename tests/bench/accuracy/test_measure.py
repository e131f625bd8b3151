"""Models judged on real images, in order of what they find."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cbir.bench.accuracy.measure import by_class, judge, make_task, measure, open_sources, search, warnings_about
from cbir.bench.core.metrics import definitions, per_query

from cbir.errors import UsageError
from cbir.evaluation.retrieval import split
from cbir.models.sealed import seal
from cbir.settings import Settings
from tests.support.accuracy import OPTIONS, labelled
from tests.support.building import unit_vectors
from tests.support.trainings import trained_card

LEAVE_ONE_OUT = replace(OPTIONS, protocol="leave-one-out", k=2)
TWO_SOURCES = replace(OPTIONS, protocol="two-sources", query_source="queries", k=2)


def test_a_source_of_queries_is_searched_in_a_source_of_images(
    photo_folder: Path, model_file: Path, tmp_path: Path
) -> None:
    """The folders share keys, as `train/` and `test/` often do, but not the images behind them."""
    train, test = tmp_path / "train", tmp_path / "test"
    folders = [path for path in sorted(photo_folder.iterdir()) if path.is_dir() and len(list(path.iterdir())) >= 16]
    for folder in folders[:3]:
        files = sorted(folder.iterdir())[:16]
        for root, chosen in ((test, files[:4]), (train, files[4:])):
            (root / folder.name).mkdir(parents=True)
            for number, path in enumerate(chosen):
                shutil.copy(path, root / folder.name / f"{number}.png")
    options = replace(OPTIONS, source=str(train), query_source=str(test), protocol="two-sources", k=3)
    images, (model,), pairs, warnings = measure([model_file], options, Settings())
    assert (images.name, images.indexed, images.queries, images.without_class) == ("train and test", 36, 12, 0)
    assert (pairs, warnings, images.left_out) == ([], [], 0)
    assert [(row.queries, row.indexed) for row in model.classes] == [(4, 12)] * 3
    assert model.metrics["hit_rate_at_3"] > 0.5, "the packaged model finds something"


def test_a_model_has_every_metric_with_its_interval(photo_folder: Path, model_file: Path) -> None:
    images, (model,), _, _ = measure([model_file], replace(OPTIONS, source=str(photo_folder), limit=120), Settings())
    assert set(model.metrics) == set(definitions(5)) == set(model.intervals) == set(model.with_copies)
    for name, (low, high) in model.intervals.items():
        assert low <= model.metrics[name] <= high, name
    assert sum(row.queries for row in model.classes) == images.queries
    assert model.rank == 1


def test_the_same_model_twice_is_refused(photo_folder: Path, model_file: Path) -> None:
    with pytest.raises(UsageError, match="same model"):
        measure([model_file, model_file], replace(OPTIONS, source=str(photo_folder)), Settings())


def test_classes_are_the_queries_of_each_class() -> None:
    vectors = unit_vectors(60)
    images = labelled(vectors, "aab" * 20)
    task, _ = make_task([images], set(images.digests), replace(OPTIONS, protocol="leave-one-out"))
    hits, _ = search(vectors, task)
    values = per_query(judge(hits, task, with_copies=False))
    first, second = by_class(hits, values, task)
    assert [(row.label, row.queries, row.indexed) for row in (first, second)] == [("a", 40, 40), ("b", 20, 20)]
    assert sum(first.retrieved_as.values()) == pytest.approx(1)
    assert first.retrieved_as["a"] == pytest.approx(first.metrics["precision_at_5"])
    means = [row.metrics["mrr_at_5"] * row.queries / 60 for row in (first, second)]
    assert sum(means) == pytest.approx(np.mean(values["mrr_at_5"]))


def test_all_models_are_judged_on_the_images_that_each_of_them_can_embed(
    photo_folder: Path, model_file: Path, tmp_path: Path
) -> None:
    """The second model has the same weights, and its cache says that it makes no vector of one image."""
    settings = Settings(cache=tmp_path / "cache")
    other = tmp_path / "other.onnx"
    other.write_bytes(seal(model_file.read_bytes().replace(b"torch", b"tarch")))
    options = replace(OPTIONS, source=str(photo_folder), protocol="leave-one-out", resamples=100)
    whole, _, _, _ = measure([other], options, settings)
    (cache,) = (tmp_path / "cache").rglob("*.npz")
    with np.load(cache) as file:
        digests, vectors = file["digests"], file["vectors"]
    vectors[7] = np.nan
    np.savez(cache, digests=digests, vectors=vectors)
    images, models, (pair,), _ = measure([model_file, other], options, settings)
    assert (images.images, images.left_out) == (whole.images - 1, whole.left_out + 1)
    assert models[0].metrics == models[1].metrics
    assert [model.rank for model in models] == [1, 1] and (pair.difference, pair.p, pair.better) == (0, 1, None)


def test_exact_copies_of_the_query_are_no_hits() -> None:
    angles = np.array([0.0, 0.001, 0.1, 0.2, 0.3, 0.4])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    images = labelled(vectors, "aabbab", "xxyzvw")
    task, _ = make_task([images], set(images.digests), LEAVE_ONE_OUT)
    hits, with_copies = search(vectors, task)
    assert hits[0].tolist() == [2, 3], "image 1 is its copy"
    assert with_copies[0].tolist() == [1, 2]
    judged, judged_with_copies = judge(hits, task, with_copies=False), judge(with_copies, task, with_copies=True)
    assert judged.possible[0] == 1
    assert judged_with_copies.possible[0] == 2
    values, more = per_query(judged), per_query(judged_with_copies)
    assert values["precision_at_2"][0] == 0 and more["precision_at_2"][0] == 0.5


def test_the_test_part_of_a_split_is_searched_in_the_training_part() -> None:
    labels = "ab" * 100
    images = labelled(unit_vectors(len(labels)), labels)
    task, _ = make_task([images], set(images.digests), OPTIONS)
    parts = split(list(labels), OPTIONS.seed)
    assert (task.indexed.tolist(), task.queries.tolist()) == (sorted(parts.train), sorted(parts.test))


@pytest.mark.parametrize("seed", range(3))
def test_no_query_finds_itself(seed: int) -> None:
    vectors = unit_vectors(30, seed)
    images = labelled(vectors, "ab" * 15)
    task, _ = make_task([images], set(images.digests), replace(LEAVE_ONE_OUT, k=5))
    hits, with_copies = search(vectors, task)
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -2)
    assert (hits == np.argsort(-scores, axis=1)[:, :5]).all()
    assert (hits == with_copies).all()


def test_an_index_of_nothing_but_copies_gives_no_hits() -> None:
    vectors = unit_vectors(6)
    images = labelled(vectors, "aabbbb", "xxxxxx")
    task, _ = make_task([images], set(images.digests), LEAVE_ONE_OUT)
    hits, _ = search(vectors, task)
    assert (hits == -1).all() and not judge(hits, task, with_copies=False).relevant.any()


def test_queries_of_a_second_source_search_in_the_first_one() -> None:
    vectors = unit_vectors(20)
    index, queries = labelled(vectors[:12], "ab" * 6, prefix="i"), labelled(vectors[12:], "abca" * 2, prefix="q")
    task, kept = make_task([index, queries], {*index.digests, *queries.digests}, TWO_SOURCES)
    assert (task.indexed.tolist(), task.queries.tolist()) == (list(range(12)), list(range(12, 20)))
    hits, _ = search(kept, task)
    assert (hits == np.argsort(-(vectors[12:] @ vectors[:12].T), axis=1)[:, :2]).all()
    judged = judge(hits, task, with_copies=False)
    assert judged.possible.tolist() == [6, 6, 0, 6] * 2, "no indexed image is of the class c"
    assert not judged.relevant[2].any()


def test_an_image_of_both_sources_is_a_copy() -> None:
    vectors = unit_vectors(12)
    index, queries = labelled(vectors[:8], "ab" * 4), labelled(vectors[:2], "ab")
    task, kept = make_task([index, queries], set(index.digests), TWO_SOURCES)
    hits, with_copies = search(kept, task)
    assert with_copies[:, 0].tolist() == [0, 1]
    assert 0 not in hits[0] and 1 not in hits[1]
    assert judge(hits, task, with_copies=False).possible.tolist() == [3, 3]


def test_images_that_a_model_cannot_embed_are_left_out() -> None:
    vectors = unit_vectors(20)
    index, queries = labelled(vectors[:12], "ab" * 6, prefix="i"), labelled(vectors[12:], "ab" * 4, prefix="q")
    usable = {*index.digests[2:], *queries.digests[1:]}
    task, kept = make_task([index, queries], usable, TWO_SOURCES)
    assert (kept == np.delete(vectors, [0, 1, 12], axis=0)).all()
    assert (len(task.indexed), task.queries.tolist()) == (10, list(range(10, 17)))


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ("a" * 12, LEAVE_ONE_OUT, "of one class, 'a'"),
        ("ab" * 3, replace(LEAVE_ONE_OUT, k=5), "too few for 5 hits"),
        ("ab" * 6, TWO_SOURCES, "at least two queries"),
    ],
)
def test_a_task_that_cannot_be_measured(labels: str, options: object, message: str) -> None:
    images = labelled(unit_vectors(len(labels)), labels)
    with pytest.raises(UsageError, match=message):
        make_task([images], set(images.digests), options)  # type: ignore[arg-type]


def test_the_training_images_of_a_model_are_told_from_the_queries() -> None:
    """The card names a training on 700 of 1,000 images of two classes, seed 42."""
    card = trained_card()

    def warning(count: int, labels: str = "ab", **options: object) -> str:
        images = labelled(unit_vectors(count), (labels * count)[:count])
        chosen = replace(OPTIONS, **options)  # type: ignore[arg-type]
        (found,) = warnings_about(card, "photos", chosen, make_task([images], set(images.digests), chosen)[0])
        return found

    assert "on none of the queries" in warning(1000)
    assert warning(2000).startswith("WARNING: resnet18-trained was trained on images of photos that may be queries")
    assert warning(1000, "abc").startswith("WARNING")
    assert warning(1000, seed=43).startswith("WARNING")
    assert "700 images of 2 classes (70/15/15 by class, seed 42)" in warning(1000, protocol="leave-one-out")
    images = labelled(unit_vectors(60), "ab" * 30)
    assert warnings_about(card, "others", OPTIONS, make_task([images], set(images.digests), OPTIONS)[0]) == []


def test_an_expanded_query_is_its_mean_with_the_best_hits() -> None:
    vectors = unit_vectors(60)
    images = labelled(vectors, "ab" * 30)
    options = replace(LEAVE_ONE_OUT, expand=3)
    hits, _ = search(vectors, make_task([images], set(images.digests), options)[0])
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -2)
    best = np.argsort(-scores, axis=1)[:, :3]
    expanded = (vectors + vectors[best].sum(axis=1)) @ vectors.T
    np.fill_diagonal(expanded, -9)
    assert (hits == np.argsort(-expanded, axis=1)[:, :2]).all()
    plain, _ = search(vectors, make_task([images], set(images.digests), LEAVE_ONE_OUT)[0])
    assert (hits != plain).any()


def test_the_most_frequent_classes_are_those_of_the_index(tmp_path: Path, photo_folder: Path) -> None:
    index, queries = tmp_path / "train", tmp_path / "test"
    image = next(photo_folder.rglob("*.png")).read_bytes()
    for folder, counts in ((index, {"cat": 3, "dog": 2, "bird": 1}), (queries, {"bird": 5, "cat": 1, "dog": 1})):
        for label, count in counts.items():
            (folder / label).mkdir(parents=True)
            for number in range(count):
                (folder / label / f"{number}.png").write_bytes(image)
    options = replace(TWO_SOURCES, source=str(index), query_source=str(queries), top_classes=2)
    (name, indexed), (_, searched) = open_sources(options)
    assert name == "train"
    assert sorted({str(item.label) for item in indexed}) == ["cat", "dog"]
    assert sorted(str(item.label) for item in searched) == ["cat", "dog"]
    assert len(open_sources(replace(options, top_classes=None))[1][1]) == 7
