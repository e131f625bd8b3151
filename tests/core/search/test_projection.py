"""Vectors in a plane: principal components against a whole decomposition, and the map that is made once and kept."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbir.errors import CbirError
from cbir.records import Vector
from cbir.search import projection
from cbir.search.projection import kept_map, pca, umap_map, umap_path, vectors_digest
from cbir.settings import Settings
from tests.support.building import unit_vectors


def spread(count: int, dimension: int, seed: int) -> Vector:
    """Return vectors whose variance halves twice from one direction to the next."""
    chance = np.random.default_rng(seed)
    directions = np.linalg.qr(chance.normal(size=(dimension, dimension)))[0]
    rows = chance.normal(size=(count, dimension)) * 0.5 ** np.arange(dimension)
    return np.asarray(rows @ directions + chance.normal(size=dimension), np.float32)


@settings(max_examples=20, deadline=None)
@given(st.integers(3, 200), st.integers(2, 30), st.integers(1, 4), st.integers(0, 1000))
def test_components_are_those_of_the_whole_decomposition(count: int, dimension: int, wanted: int, seed: int) -> None:
    vectors = spread(count, dimension, seed)
    found = pca(vectors, wanted)
    assert (found.shape, found.dtype) == ((count, wanted), np.float32)
    centred = vectors - vectors.mean(axis=0, dtype=np.float64)
    _, lengths, right = np.linalg.svd(centred, full_matrices=False)
    for i in range(min(wanted, len(lengths))):
        apart = lengths[i] - (lengths[i + 1] if i + 1 < len(lengths) else 0)
        if apart > 0.05 * lengths[0] and (not i or lengths[i - 1] - lengths[i] > 0.05 * lengths[0]):
            assert np.allclose(np.abs(found[:, i]), np.abs(centred @ right[i]), atol=2e-3 * lengths[0])


def test_axes_keep_their_direction_when_points_are_added() -> None:
    vectors = spread(400, 12, 3)
    before, after = pca(vectors[:300]), pca(vectors)[:300]
    assert all(np.corrcoef(before[:, i], after[:, i])[0, 1] > 0.99 for i in range(2))
    assert np.array_equal(pca(vectors), pca(vectors))


def test_a_sample_gives_the_components_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = spread(3000, 20, 4)
    whole = pca(vectors)
    monkeypatch.setattr(projection, "FITTED", 500)
    some = pca(vectors)
    assert some.shape == whole.shape
    assert all(np.corrcoef(sampled, full)[0, 1] > 0.98 for sampled, full in zip(some.T, whole.T, strict=True))


@pytest.mark.parametrize("vectors", [np.empty((0, 4)), np.ones((1, 4)), np.ones((5, 4)), np.ones((5, 1))])
def test_vectors_without_components_have_one_position(vectors: Vector) -> None:
    found = pca(vectors.astype(np.float32))
    assert found.shape == (len(vectors), 2)
    assert np.abs(found).max(initial=0) < 1e-5


def test_a_map_is_kept_by_the_vectors(tmp_path: Path) -> None:
    vectors = unit_vectors(12)
    changed = vectors.copy()
    changed[3] *= -1
    path, *others = (
        umap_path(Settings(cache=tmp_path), vectors_digest(rows)) for rows in (vectors, changed, vectors[::-1])
    )
    assert path not in others and len({*others}) == 2
    assert path == umap_path(Settings(cache=tmp_path), vectors_digest(vectors.copy()))
    assert path.parent == tmp_path / "maps"


def test_a_map_is_made_in_a_process_of_its_own_and_once(tmp_path: Path) -> None:
    path, vectors = tmp_path / "maps" / "a.npy", unit_vectors(12)
    made = umap_map(path, 12, lambda: vectors)
    assert (made.shape, made.dtype) == ((12, 2), np.float32)
    assert [file.name for file in path.parent.iterdir()] == ["a.npy"]

    def read() -> Vector:
        raise AssertionError("the vectors are read again")

    assert np.array_equal(umap_map(path, 12, read), made)


@pytest.mark.parametrize("damage", [b"", b"junk", "pickle", "short", "nan", "double"])
def test_an_invalid_file_is_not_used(damage: bytes | str, tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    others = {
        "pickle": np.array([{}] * 12, object),
        "short": np.zeros((11, 2), np.float32),
        "nan": np.full((12, 2), np.nan, np.float32),
        "double": np.zeros((12, 2)),
    }
    if isinstance(damage, bytes):
        path.write_bytes(damage)
    else:
        np.save(path, others[damage], allow_pickle=True)
    assert kept_map(path, 12) is None


def test_a_map_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "maps").write_text("a file where the folder should be")
    with pytest.raises(CbirError, match="the UMAP of 12 points could not be made"):
        umap_map(tmp_path / "maps" / "a.npy", 12, lambda: unit_vectors(12))


def test_a_failed_process_is_reported_with_its_last_line(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.mkdir()  # nothing can be put in its place
    with pytest.raises(CbirError, match="could not be made: .*Is a directory"):
        umap_map(path, 12, lambda: unit_vectors(12))
    assert [file.name for file in tmp_path.iterdir()] == ["a.npy"]
