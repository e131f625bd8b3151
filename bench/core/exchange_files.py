"""The files of ann-benchmarks (HDF5) and of VectorDBBench (Parquet): each there whole or not at all."""

import math
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from cbir.errors import CbirError, UsageError
from cbir.index.files import sync, write_whole
from cbir.records import Vector
from cbir.terminal import Advance, one_line

from ..parity.ranking import EPSILON
from ..report.exchange import Case, Run, mean_recall
from .nearest import Neighbours
from .workload import Subject

HDF5, PARQUET = "hdf5", "parquet"
FORMATS = (HDF5, PARQUET)
TABLES = ("train", "test", "neighbors", "ids")
_ROWS = 4096
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


def check_formats(formats: Sequence[str]) -> None:
    """Raise `UsageError` unless all formats are known, and what they need is installed."""
    for one in formats:
        if one not in FORMATS:
            raise UsageError(f"--format {one}: there is no such format, but {' and '.join(FORMATS)}")
    if HDF5 in formats:
        try:
            import h5py  # noqa: F401
        except ImportError:
            raise UsageError("--format hdf5 needs h5py: pip install 'cbir[bench]'") from None


def check_new(folder: Path, subject: Subject, asked: Sequence[Case], formats: Sequence[str]) -> None:
    """Raise `UsageError` if one of the files that are to be written is there."""
    files = [folder / "README.md"]
    if HDF5 in formats:
        files += [_data(folder, subject), *(_result(folder, subject, one) for one in asked)]
    if PARQUET in formats:
        files += [folder / f"{name}.parquet" for name in TABLES]
    for path in files:
        if path.exists() or path.is_symlink():
            raise UsageError(f"{path} is there already; name another folder, or add --overwrite")


def rows(subject: Subject, formats: Sequence[str]) -> int:
    """Return how many rows `write` will report."""
    count, queries = subject.infos[0].count, len(subject.queries)
    return (HDF5 in formats) * count + (PARQUET in formats) * 2 * (count + queries)


def write(
    folder: Path,
    subject: Subject,
    truth: Neighbours,
    runs: Sequence[Run],
    formats: Sequence[str],
    advance: Advance,
) -> list[Path]:
    """Write all files and return them; `advance` hears of rows.

    Raises:
        CbirError: One cannot be written; those that are there are whole.
    """
    files = [_write_readme(folder, subject, truth, formats)]
    if HDF5 in formats:
        files += [_write_data(folder, subject, truth, advance)]
        files += [_write_result(folder, subject, truth, run) for run in runs]
    if PARQUET in formats:
        files += _write_tables(folder, subject, truth, advance)
    return files


def _write_readme(folder: Path, subject: Subject, truth: Neighbours, formats: Sequence[str]) -> Path:
    text = _README + (_README_HDF5 if HDF5 in formats else "") + (_README_PARQUET if PARQUET in formats else "")
    info = subject.infos[0]
    filled = text.format(
        name=subject.collection,
        count=info.count,
        dimension=info.model.dimension,
        queries=len(subject.queries),
        k=truth.count,
        self=SELF,
        tied=int(subject.truth.tied.sum()),
    )
    path = folder / "README.md"
    with _saying(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, filled.encode())
    return path


def _write_data(folder: Path, subject: Subject, truth: Neighbours, advance: Advance) -> Path:
    """Write what ann-benchmarks' loader of data sets reads."""
    import h5py

    vectors = subject.truth.vectors
    path = _data(folder, subject)
    with _whole(path) as beside, h5py.File(beside, "w") as file:
        file.attrs.update(
            {
                "type": "dense",
                "distance": "angular",
                "dimension": vectors.shape[1],
                "point_type": "float",
                **_ours(subject),
            }
        )
        train = file.create_dataset("train", vectors.shape, np.float32)
        for start in range(0, len(vectors), _ROWS):
            block = vectors[start : start + _ROWS]
            train[start : start + len(block)] = block
            advance(len(block))
        file.create_dataset("test", data=subject.vectors, dtype=np.float32)
        file.create_dataset("neighbors", data=truth.rows)
        file.create_dataset("distances", data=truth.distances)
    return path


def _write_result(folder: Path, subject: Subject, truth: Neighbours, run: Run) -> Path:
    """Write what ann-benchmarks' plots read of one run."""
    import h5py

    found = run.found
    path = _result(folder, subject, run)
    with _whole(path) as beside, h5py.File(beside, "w") as file:
        file.attrs.update(
            {
                "algo": run.algorithm,
                "dataset": subject.collection,
                "name": f"{run.algorithm} {run.parameters}",
                "count": found.count,
                "distance": "angular",
                "batch_mode": False,
                "expect_extra": False,
                "run_count": len(run.mean_seconds),
                "best_search_time": min(run.mean_seconds),
                "candidates": float((found.rows >= 0).sum(axis=1).mean()),
                "build_time": math.nan,
                "index_size": math.nan if run.index_kilobytes is None else run.index_kilobytes,
                "cbir_recall": mean_recall(truth, found, EPSILON),
                **_ours(subject),
            }
        )
        file.create_dataset("times", data=run.seconds, dtype=np.float32)
        file.create_dataset("neighbors", data=found.rows)
        file.create_dataset("distances", data=found.distances)
    return path


def _write_tables(folder: Path, subject: Subject, truth: Neighbours, advance: Advance) -> list[Path]:
    """Write a custom data set of VectorDBBench, and what its ids stand for."""
    import pyarrow as pa

    ids, queries = list(subject.truth.position), subject.truth.queries
    number, store = pa.field("id", pa.int64()), subject.stores[0]
    vector = pa.schema([number, pa.field("emb", pa.list_(pa.float32()))])
    near = pa.schema([number, pa.field("neighbors_id", pa.list_(pa.int64()))])
    named = pa.schema([number, *(pa.field(name, pa.string()) for name in ("point_id", "key", "label"))])

    def embedded(vectors: Vector, numbers: np.ndarray) -> Iterator[Any]:
        for start in range(0, len(vectors), _ROWS):
            block = slice(start, start + _ROWS)
            yield pa.record_batch([pa.array(numbers[block]), _lists(vectors[block])], schema=vector)

    def pictures() -> Iterator[Any]:
        for start in range(0, len(ids), _ROWS):
            part = ids[start : start + _ROWS]
            payloads = [one or {} for one in store.payloads(part)]
            texts = [[_text(one.get(name)) for one in payloads] for name in ("key", "label")]
            numbers = np.arange(start, start + len(part), dtype=np.int64)
            columns = [pa.array(numbers), pa.array(part), *(pa.array(one, pa.string()) for one in texts)]
            yield pa.record_batch(columns, schema=named)

    numbers = np.arange(len(ids), dtype=np.int64)
    exact = pa.record_batch([pa.array(queries), _lists(truth.rows.astype(np.int64))], schema=near)
    batches = (
        (vector, embedded(subject.truth.vectors, numbers)),
        (vector, embedded(subject.vectors, queries)),
        (near, iter([exact])),
        (named, pictures()),
    )
    return [
        _write_table(folder / f"{name}.parquet", schema, found, advance)
        for name, (schema, found) in zip(TABLES, batches, strict=True)
    ]


def _write_table(path: Path, schema: Any, batches: Iterator[Any], advance: Advance) -> Path:
    import pyarrow.parquet as pq

    with _whole(path) as beside, pq.ParquetWriter(beside, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            advance(batch.num_rows)
    return path


def _lists(rows: np.ndarray) -> Any:
    """Return a (N, M) matrix as N lists."""
    import pyarrow as pa

    offsets = np.arange(0, rows.size + 1, rows.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.ascontiguousarray(rows).ravel()))


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _ours(subject: Subject) -> dict[str, Any]:
    return {
        "cbir_query_is_a_neighbour_of_itself": True,
        "cbir_note": SELF,
        "cbir_generation": subject.infos[0].generation,
        "cbir_seed": subject.seed,
    }


def _data(folder: Path, subject: Subject) -> Path:
    return folder / "data" / f"{subject.collection}.hdf5"


def _result(folder: Path, subject: Subject, run: Case | Run) -> Path:
    return folder / "results" / subject.collection / str(subject.k + 1) / run.algorithm / f"{run.parameters}.hdf5"


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
    """Turn a failure to write into one line."""
    try:
        yield
    except OSError as error:
        raise CbirError(f"cannot write {path}: {error.strerror or one_line(error)}") from None
