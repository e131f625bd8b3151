"""Vectors as points of a plane: by principal components at once, or by UMAP, which takes a while and is kept.

UMAP (L. McInnes et al., 2018) is the extra `umap`. It holds Python's lock and compiles itself first, so it runs in a
process of its own: `python -m cbir.search.projection FILE` reads vectors (.npy) from its input and writes their map.
"""

import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from cbir.errors import CbirError
from cbir.index.files import write_atomically
from cbir.records import Vector
from cbir.settings import Settings
from cbir.stores.base import StoreInfo

FITTED = 4000
"""Rows, at most, that principal components are worked out from."""

_TURNS, _MORE = 12, 10
_BEFORE_UMAP = 50
_NEIGHBOURS = 15
_MOST_SECONDS = 3600


def pca(vectors: Vector, dimensions: int = 2, seed: int = 0) -> Vector:
    """Return vectors in their first principal components, (n, dimensions) float32, worked out from `FITTED` rows.

    The components come by falling variance, each turned so that its largest weight is positive; where there are fewer
    of them than `dimensions`, the last columns are 0. By randomized subspace iteration (N. Halko et al., Finding
    Structure with Randomness, 2011, algorithm 4.4), which takes a tenth of a second where a whole decomposition takes
    two.
    """
    chance = np.random.default_rng(seed)
    out = np.zeros((len(vectors), dimensions), np.float32)
    if not len(vectors):
        return out
    rows = vectors[np.sort(chance.permutation(len(vectors))[:FITTED])]
    mean = rows.mean(axis=0)
    rows = rows - mean
    width = min(rows.shape[1], dimensions + _MORE)
    basis = chance.normal(size=(rows.shape[1], width)).astype(np.float32)
    for _ in range(_TURNS):
        basis, _ = np.linalg.qr(rows.T @ (rows @ basis))
    right = np.linalg.svd(rows @ basis, full_matrices=False)[2]
    components = (basis @ right.T)[:, :dimensions]
    largest = np.abs(components).argmax(axis=0)
    components = components * np.sign(components[largest, range(components.shape[1])])
    out[:, : components.shape[1]] = (vectors - mean) @ components
    return out


def umap_installed() -> bool:
    """Return whether the extra `umap` is there."""
    return find_spec("umap") is not None


def umap_path(settings: Settings, info: StoreInfo, ids: Sequence[str]) -> Path:
    """Return where the map of these points of a collection's generation is kept."""
    told = [info.collection, info.generation, info.model.sha256, *ids]
    return settings.cache / "maps" / f"{hashlib.sha256(' '.join(told).encode()).hexdigest()[:32]}.npy"


def kept_map(path: Path, count: int) -> Vector | None:
    """Return the map (count, 2) that is kept in a file, or None if there is none, or one that cannot be it."""
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == (count, 2) and found.dtype == np.float32 and np.isfinite(found).all() else None


def umap_map(path: Path, count: int, read: Callable[[], Vector]) -> Vector:
    """Return the map (count, 2) float32 by UMAP, made in a process of its own unless it is kept in `path`.

    Args:
        path: Where it is kept.
        count: How many points it has.
        read: Returns their vectors, (count, D); called if there is no such map yet.

    Raises:
        CbirError: It cannot be made.
    """
    if (kept := kept_map(path, count)) is not None:
        return kept
    given = io.BytesIO()
    np.save(given, pca(read(), _BEFORE_UMAP))
    command = [sys.executable, "-m", __name__, str(path)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(command, input=given.getvalue(), capture_output=True, timeout=_MOST_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CbirError(f"the UMAP of {count:,} points could not be made: {error}") from None
    made = kept_map(path, count)
    if made is None:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"it ended with {done.returncode}"]
        raise CbirError(f"the UMAP of {count:,} points could not be made: {lines[-1]}")
    return made


def _child(path: Path) -> None:
    """Write the map of the vectors on standard input, whole or not at all."""
    os.nice(10)  # searches go before
    vectors = np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False)
    made = io.BytesIO()
    np.save(made, _umap(vectors))
    write_atomically(path, made.getvalue())


def _umap(vectors: Vector) -> Vector:
    if len(vectors) <= _NEIGHBOURS:  # too few to have neighbourhoods
        return pca(vectors)
    from umap import UMAP

    reducer = UMAP(n_neighbors=_NEIGHBOURS, min_dist=0.1, metric="cosine", random_state=0, n_jobs=1)
    return np.asarray(reducer.fit_transform(vectors), np.float32)


if __name__ == "__main__":
    _child(Path(sys.argv[1]))
