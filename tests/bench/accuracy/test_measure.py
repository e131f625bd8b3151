"""Models judged on real images, in order of what they find."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cbir.bench.accuracy.measure import by_class, measure
from cbir.bench.accuracy.task import judge, make_task, search
from cbir.bench.core.metrics import definitions, per_query

from cbir.errors import UsageError
from cbir.models.sealed import seal
from cbir.settings import Settings
from tests.support.accuracy import OPTIONS, labelled
from tests.support.building import unit_vectors


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
