"""The collection whose files the tests of `cbir-bench exchange` read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.building import unit_vectors

COUNT, QUERIES, K = 500, 40, 20
ANN_EPSILON = 1e-3
VECTORS = unit_vectors(COUNT)
VECTORS[7] = VECTORS[8] = VECTORS[9]
OPTIONS = ("--queries", QUERIES, "-k", K, "--rounds", 2)


def ann_results(folder: Path) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield what ann-benchmarks finds under results/: it opens each file to write its metrics into it."""
    import h5py

    for path in sorted((folder / "results" / "made" / str(K)).rglob("*.hdf5")):
        with h5py.File(path, "r+") as file:
            file.create_group("metrics")
            yield dict(file.attrs), file


def ann_recall(true_distances: np.ndarray, run_distances: np.ndarray, count: int, epsilon: float) -> float:
    """Return ann-benchmarks' k-nn metric: hits not farther than the true neighbour at `count`, and a bit."""
    limits = true_distances[:, count - 1] + epsilon
    return float(
        np.mean([(row[:count] <= limit).sum() for row, limit in zip(run_distances, limits, strict=True)]) / count
    )
