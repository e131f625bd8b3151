"""The vectors of a labelled source: embedded once and kept; images that cannot be used are left out."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from cbir.errors import UsageError
from cbir.evaluation.embeddings import embed_labelled, open_labelled
from cbir.models.embedder import Embedder
from cbir.settings import Settings
from cbir.sources.base import SourceOptions


def test_vectors_are_kept_by_model_and_image(
    photo_folder: Path, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = Embedder(model_file, threads=1)
    options = SourceOptions(limit=20)
    name, items = open_labelled(str(photo_folder), options)
    settings = Settings(cache=tmp_path)
    first = embed_labelled(name, items, embedder, settings)
    assert first.labels == [item.label for item in items]
    assert np.allclose(np.linalg.norm(first.vectors, axis=1), 1, atol=1e-5)
    alone = embedder.embed([embedder.decode(items[3].read(), 40)])[0]
    assert float(alone @ first.vectors[3]) > 0.99999

    monkeypatch.setattr(embedder, "run", None)  # a second run embeds nothing
    again = embed_labelled(name, list(reversed(items)), embedder, settings)
    assert (again.vectors == first.vectors[::-1]).all()
    (cache,) = (tmp_path / "embeddings").iterdir()
    cache.write_bytes(cache.read_bytes()[:-100])
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert (embed_labelled(name, items, embedder, settings).vectors == first.vectors).all()


def test_images_that_cannot_be_used_are_left_out(
    photo_folder: Path, model_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, embedder, settings = tmp_path / "photos" / "fox", Embedder(model_file, threads=1), Settings(cache=tmp_path)
    folder.mkdir(parents=True)
    (folder / "broken.png").write_bytes(b"no image")
    name, items = open_labelled(str(folder.parent), SourceOptions())
    with pytest.raises(UsageError, match="none of its 1 images can be used"):
        embed_labelled(name, items, embedder, settings)
    shutil.copy(next(photo_folder.rglob("*.png")), folder / "good.png")
    name, items = open_labelled(str(folder.parent), SourceOptions())
    found = embed_labelled(name, items, embedder, settings)
    assert (found.keys, found.labels, found.vectors.shape[0]) == (["fox/good.png"], ["fox"], 1)
    assert "fox/broken.png" in caplog.text


def test_images_without_labels_are_refused(photo_folder: Path, tmp_path: Path) -> None:
    shutil.copy(next(photo_folder.rglob("*.png")), tmp_path / "loose.png")
    with pytest.raises(UsageError, match="no labels"):
        open_labelled(str(tmp_path), SourceOptions())
