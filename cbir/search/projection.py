"""Vectors as points of a plane: principal components at once, or UMAP, which takes longer and is kept in a file.

UMAP (L. McInnes et al., 2018) is the extra `umap`. It holds Python's lock and first compiles itself, so it runs in a
separate process: `python -m cbir.search.projection FILE` reads vectors (.npy) from its input and writes their map.
"""

import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cbir.errors import CbirError
from cbir.index.files import write_atomically
from cbir.records import Vector
from cbir.settings import Settings

FITTED = 4000
"""Principal components are computed from at most this many rows."""

_ITERATIONS, _OVERSAMPLING = 12, 10
_PCA_DIMENSIONS = 50
_NEIGHBOURS = 15
_TIMEOUT_SECONDS = 3600


def pca(vectors: Vector, dimensions: int = 2, seed: int = 0) -> Vector:
    """Return vectors in their first principal components, (n, dimensions) float32.

    The components are computed from `FITTED` rows, by randomized subspace iteration (N. Halko et al., Finding
    Structure with Randomness, 2011, algorithm 4.4). This takes a tenth of a second where a full decomposition takes
    two. Components come by falling variance, each with its largest weight positive; missing ones are 0.
    """
    random = np.random.default_rng(seed)
    out = np.zeros((len(vectors), dimensions), np.float32)
    if not len(vectors):
        return out
    rows = vectors[np.sort(random.permutation(len(vectors))[:FITTED])]
    mean = rows.mean(axis=0)
    rows = rows - mean
    width = min(rows.shape[1], dimensions + _OVERSAMPLING)
    basis = random.normal(size=(rows.shape[1], width)).astype(np.float32)
    for _ in range(_ITERATIONS):
        basis, _ = np.linalg.qr(rows.T @ (rows @ basis))
    right = np.linalg.svd(rows @ basis, full_matrices=False)[2]
    components = (basis @ right.T)[:, :dimensions]
    largest = np.abs(components).argmax(axis=0)
    components = components * np.sign(components[largest, range(components.shape[1])])
    out[:, : components.shape[1]] = (vectors - mean) @ components
    return out


def vectors_digest(vectors: Vector) -> str:
    """Return the SHA-256 of vectors (n, D), on which their map depends and nothing else."""
    return hashlib.sha256(np.ascontiguousarray(vectors).data).hexdigest()


def umap_path(settings: Settings, digest: str) -> Path:
    """Return the path of the file that keeps the map of the vectors with this digest."""
    return settings.cache / "maps" / f"{digest[:32]}.npy"


def kept_map(path: Path, count: int) -> Vector | None:
    """Return the map (count, 2) in a file, or None if there is none or it is not valid."""
    try:
        kept = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return kept if kept.shape == (count, 2) and kept.dtype == np.float32 and np.isfinite(kept).all() else None


def umap_map(path: Path, count: int, read: Callable[[], Vector]) -> Vector:
    """Return the UMAP (count, 2), float32, from a file, or of the vectors (count, D) that `read` returns.

    A new map is made in a separate process and kept in the file.
    """
    if (kept := kept_map(path, count)) is not None:
        return kept
    reduced = io.BytesIO()
    np.save(reduced, pca(read(), _PCA_DIMENSIONS))
    command = [sys.executable, "-m", __name__, str(path)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            command, input=reduced.getvalue(), capture_output=True, timeout=_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CbirError(f"the UMAP of {count:,} points could not be made: {error}") from None
    made = kept_map(path, count)
    if made is None:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise CbirError(f"the UMAP of {count:,} points could not be made: {lines[-1]}")
    return made


def _child(path: Path) -> None:
    """Write the map of the vectors on standard input to a file, whole or not at all."""
    os.nice(10)  # searches have priority
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
