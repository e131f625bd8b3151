"""The files of ann-benchmarks (HDF5) and of VectorDBBench (Parquet); each is written whole or not at all."""

import math
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from cbir.errors import CbirError, UsageError
from cbir.index.files import files_below, sync
from cbir.progress import Advance
from cbir.text import one_line

from ..core.ground_truth import Neighbours
from ..core.stores import index_folder
from ..core.workload import Workload
from .measure import Case, mean_recall

HDF5, PARQUET = "hdf5", "parquet"
FORMATS = (HDF5, PARQUET)
_ROWS = 4096
SELF = (
    "The queries are points of train. The exact neighbours and the results both count the query itself as a neighbour,"
    " so a recall@k here is over k - 1 other points."
)
_README = """# {name}: {count:,} vectors of {dimension} dimensions, {queries:,} queries, {k} neighbours

Written by `cbir-bench exchange`. Vectors have the length 1; the distance is angular, 1 - cosine. Row n of train has the
id n. {self}
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
neighbors go together; their id is the query's in train. VectorDBBench compares ids, so equal distances at the last
rank ({tied:,} of the queries) can count as misses. `ids.parquet` says which image an id is.
"""


def check_new(folder: Path, workload: Workload, cases: Sequence[Case], formats: Sequence[str]) -> None:
    """Raise `UsageError` if a file that will be written exists."""
    files = [folder / "README.md"]
    if HDF5 in formats:
        files += [_data(folder, workload), *(_result(folder, workload, case) for case in cases)]
    if PARQUET in formats:
        files += _tables(folder)
    for path in files:
        if path.exists() or path.is_symlink():
            raise UsageError(f"{path} exists already. Name another folder, or add --overwrite.")


def write(
    folder: Path, workload: Workload, truth: Neighbours, cases: Sequence[Case], formats: Sequence[str], advance: Advance
) -> list[Path]:
    """Write all files, those of failed cases left out, and return them. `advance` is called with rows."""
    files: list[Path] = []
    if HDF5 in formats:
        files.append(_write_data(folder, workload, truth, advance))
        files += [_write_result(folder, workload, truth, case) for case in cases if not case.failed]
    if PARQUET in formats:
        files += _write_tables(folder, workload, truth, advance)
    return [*files, _write_readme(folder, workload, truth, formats)]


def _write_readme(folder: Path, workload: Workload, truth: Neighbours, formats: Sequence[str]) -> Path:
    text = _README + (_README_HDF5 if HDF5 in formats else "") + (_README_PARQUET if PARQUET in formats else "")
    filled = text.format(
        name=workload.collection,
        count=workload.infos[0].count,
        dimension=workload.infos[0].model.dimension,
        queries=len(workload.queries),
        k=truth.count,
        self=SELF,
        tied=int(workload.truth.tied.sum()),
    )
    path = folder / "README.md"
    with _replacing(path) as temporary:
        temporary.write_text(filled)
    return path


def _write_data(folder: Path, workload: Workload, truth: Neighbours, advance: Advance) -> Path:
    vectors = workload.truth.vectors
    path = _data(folder, workload)
    attributes = {"type": "dense", "distance": "angular", "dimension": vectors.shape[1], "point_type": "float"}
    with _new_hdf5(path, workload, attributes) as file:
        train = file.create_dataset("train", vectors.shape, np.float32)
        for start in range(0, len(vectors), _ROWS):
            block = vectors[start : start + _ROWS]
            train[start : start + len(block)] = block
            advance(len(block))
        file.create_dataset("test", data=workload.vectors, dtype=np.float32)
        file.create_dataset("neighbors", data=truth.rows)
        file.create_dataset("distances", data=truth.distances)
    return path


def _write_result(folder: Path, workload: Workload, truth: Neighbours, case: Case) -> Path:
    found, index = case.neighbours(workload), index_folder(workload.infos[case.number])
    attributes = {
        "algo": case.algorithm,
        "dataset": workload.collection,
        "name": f"{case.algorithm} {case.parameters}",
        "count": found.count,
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
    path = _result(folder, workload, case)
    with _new_hdf5(path, workload, attributes) as file:
        file.create_dataset("times", data=case.best_round, dtype=np.float32)
        file.create_dataset("neighbors", data=found.rows)
        file.create_dataset("distances", data=found.distances)
    return path


def _write_tables(folder: Path, workload: Workload, truth: Neighbours, advance: Advance) -> list[Path]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"id": pa.int64(), "emb": pa.list_(pa.float32()), "neighbors_id": pa.list_(pa.int64())}
    ids, queries = list(workload.truth.position), workload.truth.queries

    def names(block: slice) -> dict[str, Any]:
        """Return which image an id is."""
        payloads = [payload or {} for payload in workload.stores[0].payloads(ids[block])]
        values = {name: [payload.get(name) for payload in payloads] for name in ("key", "label")}
        return {"point_id": ids[block]} | {
            name: [None if value is None else str(value) for value in column] for name, column in values.items()
        }

    tables: tuple[tuple[np.ndarray, Callable[[slice], dict[str, Any]]], ...] = (
        (np.arange(len(ids)), lambda block: {"emb": list(workload.truth.vectors[block])}),
        (queries, lambda block: {"emb": list(workload.vectors[block])}),
        (queries, lambda block: {"neighbors_id": list(truth.rows[block])}),
        (np.arange(len(ids)), names),
    )
    for path, (numbers, columns) in zip(_tables(folder), tables, strict=True):
        schema = pa.schema([(name, types.get(name, pa.string())) for name in ("id", *columns(slice(1)))])
        with _replacing(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
            for start in range(0, len(numbers), _ROWS):
                block = slice(start, start + _ROWS)
                writer.write_batch(pa.RecordBatch.from_pydict({"id": numbers[block], **columns(block)}, schema))
                advance(len(numbers[block]))
    return _tables(folder)


def _tables(folder: Path) -> list[Path]:
    return [folder / f"{name}.parquet" for name in ("train", "test", "neighbors", "ids")]


def _data(folder: Path, workload: Workload) -> Path:
    return folder / "data" / f"{workload.collection}.hdf5"


def _result(folder: Path, workload: Workload, case: Case) -> Path:
    return folder / "results" / workload.collection / str(workload.k + 1) / case.algorithm / f"{case.parameters}.hdf5"


@contextmanager
def _new_hdf5(path: Path, workload: Workload, attributes: Mapping[str, Any]) -> Iterator[Any]:
    """Yield a new HDF5 file with the attributes and cbir's own."""
    import h5py

    own = {
        "cbir_query_is_a_neighbour_of_itself": True,
        "cbir_note": SELF,
        "cbir_generation": workload.infos[0].generation,
        "cbir_seed": workload.seed,
    }
    with _replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update({**attributes, **own})
        yield file


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path, whose file replaces `path` when it is on the disk, and is removed on failure."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            sync(temporary)
            temporary.replace(path)
            sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise CbirError(f"Cannot write {path}: {error.strerror or one_line(error)}.") from None
