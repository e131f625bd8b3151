"""The files of ann-benchmarks (HDF5) and of VectorDBBench (Parquet); each is written whole or not at all."""

import math
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cbir.errors import CbirError, UsageError
from cbir.index.files import files_below, sync
from cbir.text import one_line

from ..core.stores import index_folder
from ..core.workload import Workload
from .measure import Case, Neighbours, mean_recall, neighbours

HDF5, PARQUET = "hdf5", "parquet"
FORMATS = (HDF5, PARQUET)
_TABLES = ("train", "test", "neighbors", "ids")
_ROWS = 4096
_README = """# {name}: {count:,} vectors of {dimension} dimensions, {queries:,} queries, {k} neighbours

Written by `cbir-bench exchange`. Vectors have the length 1; the distance is angular, 1 - cosine. Row n of train has the
id n. The queries of test are {origin}.
"""
_README_HDF5 = """
## ann-benchmarks

`data/{name}.hdf5` and `results/{name}/{k}/` have the paths that ann-benchmarks expects: copy both folders into its
checkout (or run it from here), add `"{name}"` to `DATASETS` in `ann_benchmarks/datasets.py`, and run
`python plot.py --dataset {name} --count {k}`. It counts a hit if its distance is at most that of the last true
neighbour plus 0.001; cbir's own recall allows 0.00001, and is the attribute `cbir_recall` of each result.

`times` are seconds of single searches by one client through cbir's stores, from the best of `run_count` rounds
in which the stores took turns. `index_size` is kB of the index's files (in ann-benchmarks, the growth of the process).
It is NaN for a server. `build_time` is always NaN, because the indexes existed before. Results belong to a data file
with the same `cbir_generation`, `cbir_seed` and number of queries.
"""
_README_PARQUET = """
## VectorDBBench

A custom data set: name this folder as its path, {dimension} dimensions, COSINE, {count:,} vectors, one file.
`train.parquet`, `test.parquet` and `neighbors.parquet` have the usual columns (id, emb, neighbors_id). Rows of test and
neighbors go together. VectorDBBench compares ids, so equal distances at the last
rank ({tied:,} of the queries) can count as misses. `ids.parquet` says which image an id is.
"""


Writer = Callable[[Path, Neighbours], None]
"""Writes a file, given a path and the exact neighbours."""


def planned(folder: Path, workload: Workload, cases: Sequence[Case], formats: Sequence[str]) -> dict[Path, Writer]:
    """Return what writes each file by its path. `cases` are for ann-benchmarks, to be measured before."""
    files: dict[Path, Writer] = {}
    if HDF5 in formats:
        files[folder / "data" / f"{workload.collection}.hdf5"] = partial(_write_data, workload)
        results = folder / "results" / workload.collection / str(workload.k)
        for case in cases:
            files[results / case.algorithm / f"{case.parameters}.hdf5"] = partial(_write_result, workload, case)
    if PARQUET in formats:
        files |= {folder / f"{name}.parquet": partial(_write_table, workload, name) for name in _TABLES}
    return {**files, folder / "README.md": partial(_write_readme, workload, formats)}


def check_new(files: Iterable[Path]) -> None:
    """Raise `UsageError` if a file that will be written exists."""
    for path in files:
        if path.exists() or path.is_symlink():
            raise UsageError(f"{path} exists already. Name another folder, or add --overwrite.")


def write(path: Path, writer: Writer, truth: Neighbours) -> None:
    """Write a file, whole or not at all."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            writer(temporary, truth)
            sync(temporary)
            temporary.replace(path)
            sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise CbirError(f"Cannot write {path}: {error.strerror or one_line(error)}.") from None


def _write_readme(workload: Workload, formats: Sequence[str], path: Path, truth: Neighbours) -> None:
    text = _README + (_README_HDF5 if HDF5 in formats else "") + (_README_PARQUET if PARQUET in formats else "")
    filled = text.format(
        name=workload.collection,
        count=workload.infos[0].count,
        dimension=workload.infos[0].model.dimension,
        queries=len(workload.vectors),
        k=workload.k,
        origin=workload.queries.origin,
        tied=int(workload.truth.tied.sum()),
    )
    path.write_text(filled)


def _write_data(workload: Workload, path: Path, truth: Neighbours) -> None:
    vectors = workload.truth.vectors
    attributes = {"type": "dense", "distance": "angular", "dimension": vectors.shape[1], "point_type": "float"}
    data = {"train": vectors, "test": workload.vectors, "neighbors": truth.rows, "distances": truth.distances}
    _write_hdf5(path, workload, attributes, data)


def _write_result(workload: Workload, case: Case, path: Path, truth: Neighbours) -> None:
    found, index = neighbours(workload.truth, case.rows), index_folder(workload.infos[case.number])
    attributes = {
        "algo": case.algorithm,
        "dataset": workload.collection,
        "name": case.name,
        "count": workload.k,
        "distance": "angular",
        "batch_mode": False,
        "expect_extra": False,
        "run_count": len(case.rounds),
        "best_search_time": np.mean(case.best_round),
        "candidates": float((found.rows >= 0).sum(axis=1).mean()),
        "build_time": math.nan,
        "index_size": sum(path.stat().st_size for path in files_below(index)) / 1000 if index else math.nan,
        "cbir_recall": mean_recall(truth, found),
    }
    times = np.array(case.best_round, np.float32)
    _write_hdf5(path, workload, attributes, {"times": times, "neighbors": found.rows, "distances": found.distances})


def _write_hdf5(
    path: Path, workload: Workload, attributes: Mapping[str, Any], data: Mapping[str, npt.NDArray[Any]]
) -> None:
    """Write an HDF5 file with the attributes and cbir's own."""
    import h5py

    own = {
        "cbir_queries": workload.queries.origin,
        "cbir_generation": workload.infos[0].generation,
        "cbir_seed": workload.seed,
    }
    with h5py.File(path, "w") as file:
        file.attrs.update({**attributes, **own})
        for name, values in data.items():
            file.create_dataset(name, data=values)


def _write_table(workload: Workload, name: str, path: Path, truth: Neighbours) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def lists(values: npt.NDArray[Any]) -> Any:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])

    everything, queries = np.arange(len(workload.truth.vectors)), np.arange(len(workload.vectors))
    columns: dict[str, Callable[[], dict[str, Any]]] = {
        "train": lambda: {"id": everything, "emb": lists(workload.truth.vectors)},
        "test": lambda: {"id": queries, "emb": lists(workload.vectors)},
        "neighbors": lambda: {"id": queries, "neighbors_id": lists(truth.rows.astype(np.int64))},
        "ids": lambda: {"id": everything, **_names(workload)},
    }
    pq.write_table(pa.table(columns[name]()), path, row_group_size=_ROWS, store_schema=False)  # so that lists are lists


def _names(workload: Workload) -> dict[str, list[str | None]]:
    """Return which image an id is."""
    ids = list(workload.truth.position)
    columns: dict[str, list[str | None]] = {"point_id": [*ids], "key": [], "label": []}
    for start in range(0, len(ids), _ROWS):
        for payload in workload.stores[0].payloads(ids[start : start + _ROWS]):
            for name in ("key", "label"):
                value = (payload or {}).get(name)
                columns[name].append(None if value is None else str(value))
    return columns
