"""The files of ann-benchmarks (HDF5) and of VectorDBBench (Parquet): each there whole or not at all."""

import math
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from cbir.errors import CbirError, UsageError
from cbir.index.files import files_below, sync, write_atomically
from cbir.progress import Advance
from cbir.records import Vector
from cbir.text import one_line

from ..core.ground_truth import Neighbours
from ..core.ranking import EPSILON
from ..core.stores import index_folder
from ..core.workload import Workload
from .measure import Case, mean_recall

HDF5, PARQUET = "hdf5", "parquet"
FORMATS = (HDF5, PARQUET)
TABLES = ("train", "test", "neighbors", "ids")
_ROWS = 4096
_NAMES = ("key", "label")
SELF = (
    "The queries are points of train. The exact neighbours and the results both count the query itself as one of the"
    " places, so a recall@k here is over k - 1 other points."
)
_README = """# {name}: {count:,} vectors of {dimension} dimensions, {queries:,} queries, {k} neighbours

Written by `cbir-bench exchange`. Vectors have the length 1; the distance is angular, 1 - cosine. Row n of train has the
id n. {self}
"""
_README_HDF5 = """
## ann-benchmarks

`data/{name}.hdf5` and `results/{name}/{k}/` lie as ann-benchmarks looks for them: copy both folders into its checkout
(or run it from here), add `"{name}"` to `DATASETS` in `ann_benchmarks/datasets.py`, and run
`python plot.py --dataset {name} --count {k}`. It counts a hit if its distance is at most that of the last true
neighbour plus 0.001; cbir's own recall allows 0.00001, and is the attribute `cbir_recall` of each result.

`times` are seconds of single searches by one client through cbir's store protocol, of the best of `run_count` rounds
that the stores took in turns. `index_size` is kB of the index's files (there, what the process grew by); it is NaN
for a server, and so is `build_time` everywhere, since the indexes were there. Results belong to a data file with the
same `cbir_generation`, `cbir_seed` and number of queries.
"""
_README_PARQUET = """
## VectorDBBench

A custom data set: name this folder as its path, {dimension} dimensions, COSINE, {count:,} vectors, one file.
`train.parquet`, `test.parquet` and `neighbors.parquet` have the usual columns (id, emb, neighbors_id). Rows of test and
neighbors go together; their id is the query's in train. VectorDBBench compares ids, so that equal distances at the
last place ({tied:,} of the queries) can count as misses. `ids.parquet` says which picture an id is.
"""


def check_new(folder: Path, workload: Workload, asked: Sequence[Case], formats: Sequence[str]) -> None:
    """Raise `UsageError` if one of the files that are to be written is there."""
    files = [folder / "README.md"]
    if HDF5 in formats:
        files += [_data(folder, workload), *(_result(folder, workload, one) for one in asked)]
    if PARQUET in formats:
        files += [folder / f"{name}.parquet" for name in TABLES]
    for path in files:
        if path.exists() or path.is_symlink():
            raise UsageError(f"{path} is there already; name another folder, or add --overwrite")


def rows(workload: Workload, formats: Sequence[str]) -> int:
    """Return how many rows `write` will report."""
    count, queries = workload.infos[0].count, len(workload.queries)
    return (HDF5 in formats) * count + (PARQUET in formats) * 2 * (count + queries)


def write(
    folder: Path, workload: Workload, truth: Neighbours, runs: Sequence[Case], formats: Sequence[str], advance: Advance
) -> list[Path]:
    """Write all files and return them; `advance` hears of rows."""
    files = [_write_readme(folder, workload, truth, formats)]
    if HDF5 in formats:
        files += [_write_data(folder, workload, truth, advance)]
        files += [_write_result(folder, workload, truth, run) for run in runs]
    if PARQUET in formats:
        files += _write_tables(folder, workload, truth, advance)
    return files


def _write_readme(folder: Path, workload: Workload, truth: Neighbours, formats: Sequence[str]) -> Path:
    text = _README + (_README_HDF5 if HDF5 in formats else "") + (_README_PARQUET if PARQUET in formats else "")
    info = workload.infos[0]
    filled = text.format(
        name=workload.collection,
        count=info.count,
        dimension=info.model.dimension,
        queries=len(workload.queries),
        k=truth.count,
        self=SELF,
        tied=int(workload.truth.tied.sum()),
    )
    path = folder / "README.md"
    with _saying(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, filled.encode())
    return path


def _write_data(folder: Path, workload: Workload, truth: Neighbours, advance: Advance) -> Path:
    import h5py

    vectors = workload.truth.vectors
    path = _data(folder, workload)
    with _whole(path) as beside, h5py.File(beside, "w") as file:
        attributes = {"type": "dense", "distance": "angular", "dimension": vectors.shape[1], "point_type": "float"}
        file.attrs.update(attributes | _ours(workload))
        train = file.create_dataset("train", vectors.shape, np.float32)
        for start in range(0, len(vectors), _ROWS):
            block = vectors[start : start + _ROWS]
            train[start : start + len(block)] = block
            advance(len(block))
        file.create_dataset("test", data=workload.vectors, dtype=np.float32)
        file.create_dataset("neighbors", data=truth.rows)
        file.create_dataset("distances", data=truth.distances)
    return path


def _write_result(folder: Path, workload: Workload, truth: Neighbours, run: Case) -> Path:
    import h5py

    found, index = run.found(workload), index_folder(workload.infos[run.at])
    path = _result(folder, workload, run)
    with _whole(path) as beside, h5py.File(beside, "w") as file:
        file.attrs.update(
            {
                "algo": run.algorithm,
                "dataset": workload.collection,
                "name": f"{run.algorithm} {run.parameters}",
                "count": found.count,
                "distance": "angular",
                "batch_mode": False,
                "expect_extra": False,
                "run_count": len(run.rounds),
                "best_search_time": np.mean(run.best_round),
                "candidates": float((found.rows >= 0).sum(axis=1).mean()),
                "build_time": math.nan,
                "index_size": sum(path.stat().st_size for path in files_below(index)) / 1000 if index else math.nan,
                "cbir_recall": mean_recall(truth, found, EPSILON),
                **_ours(workload),
            }
        )
        file.create_dataset("times", data=run.best_round, dtype=np.float32)
        file.create_dataset("neighbors", data=found.rows)
        file.create_dataset("distances", data=found.distances)
    return path


def _write_tables(folder: Path, workload: Workload, truth: Neighbours, advance: Advance) -> list[Path]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids, queries = list(workload.truth.position), workload.truth.queries
    number, store = pa.field("id", pa.int64()), workload.stores[0]
    vector = pa.schema([number, pa.field("emb", pa.list_(pa.float32()))])
    near = pa.schema([number, pa.field("neighbors_id", pa.list_(pa.int64()))])
    named = pa.schema([number, *(pa.field(name, pa.string()) for name in ("point_id", *_NAMES))])

    def embedded(vectors: Vector, numbers: np.ndarray) -> Iterator[Any]:
        for start in range(0, len(vectors), _ROWS):
            block = slice(start, start + _ROWS)
            yield pa.record_batch([pa.array(numbers[block]), _lists(vectors[block])], schema=vector)

    def pictures() -> Iterator[Any]:
        for start in range(0, len(ids), _ROWS):
            part = ids[start : start + _ROWS]
            payloads = [one or {} for one in store.payloads(part)]
            texts = [[None if one.get(name) is None else str(one[name]) for one in payloads] for name in _NAMES]
            numbers = np.arange(start, start + len(part), dtype=np.int64)
            columns = [pa.array(numbers), pa.array(part), *(pa.array(one, pa.string()) for one in texts)]
            yield pa.record_batch(columns, schema=named)

    numbers = np.arange(len(ids), dtype=np.int64)
    exact = pa.record_batch([pa.array(queries), _lists(truth.rows.astype(np.int64))], schema=near)
    batches = (
        (vector, embedded(workload.truth.vectors, numbers)),
        (vector, embedded(workload.vectors, queries)),
        (near, iter([exact])),
        (named, pictures()),
    )
    paths = [folder / f"{name}.parquet" for name in TABLES]
    for path, (schema, found) in zip(paths, batches, strict=True):
        with _whole(path) as beside, pq.ParquetWriter(beside, schema) as writer:
            for batch in found:
                writer.write_batch(batch)
                advance(batch.num_rows)
    return paths


def _lists(rows: np.ndarray) -> Any:
    import pyarrow as pa

    offsets = np.arange(0, rows.size + 1, rows.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.ascontiguousarray(rows).ravel()))


def _ours(workload: Workload) -> dict[str, Any]:
    return {
        "cbir_query_is_a_neighbour_of_itself": True,
        "cbir_note": SELF,
        "cbir_generation": workload.infos[0].generation,
        "cbir_seed": workload.seed,
    }


def _data(folder: Path, workload: Workload) -> Path:
    return folder / "data" / f"{workload.collection}.hdf5"


def _result(folder: Path, workload: Workload, run: Case) -> Path:
    return folder / "results" / workload.collection / str(workload.k + 1) / run.algorithm / f"{run.parameters}.hdf5"


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it is renamed when it is on the disk, and removed if that fails."""
    beside = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    with _saying(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield beside
            sync(beside)
            beside.replace(path)
            sync(path.parent)
        finally:
            beside.unlink(missing_ok=True)


@contextmanager
def _saying(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CbirError(f"cannot write {path}: {error.strerror or one_line(error)}") from None
