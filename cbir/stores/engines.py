"""The embedded engines and their options. To add an engine, add a module and an entry in `ENGINES`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cbir.filters.conditions import Filter
from cbir.index.vector_log import VectorLog
from cbir.progress import Advance
from cbir.records import Vector
from cbir.stores.base import DEFAULT_PARAMS, SearchParams
from cbir.stores.checks import Row

Found = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]
"""Scores, and positions in the vector log, (Q, n) each, in any order. A position of -1 stands for no point."""


def rows_of(found: Found) -> list[Row[int]]:
    """Return the points that were found for each vector, for `best_hits`."""
    scores, positions = found
    rows: list[Row[int]] = list(zip(scores.tolist(), positions.tolist(), strict=True))
    for _, row in rows:
        if -1 in row:
            return [_present(*row) for row in rows]
    return rows


def _present(scores: list[float], positions: list[int]) -> Row[int]:
    kept = [i for i, position in enumerate(positions) if position >= 0]
    return [scores[i] for i in kept], [positions[i] for i in kept]


HALF = 2**-10
"""More than the largest error of a score if one of two vectors of length 1 is rounded to 16 bits (2**-11)."""


class EngineIndex(Protocol):
    """An opened index. It knows points by their positions in the vector log, and checks nothing.

    `error` is 0 if its scores are those of the stored vectors, or the largest error of a score if its vectors have half
    the precision. Such scores are replaced by those of the stored vectors. Coarser codes keep their scores.
    """

    error: float
    indexed: int
    access: str
    filtering: str

    def search(self, vectors: Vector, k: int, params: SearchParams = DEFAULT_PARAMS, filter: Filter = ()) -> Found:
        """Return the k best points of each vector, or fewer (see `Store.search`)."""

    def raw(self, vector: Vector, k: int, ef: int | None = None) -> Callable[[], object]:
        """Return the library's own call for one query, for measuring the overhead of `Store.search`."""

    def close(self) -> None:
        """Release what the index holds."""


class Growth(Protocol):
    """An index that is filled while the vector log is written (see `cbir.stores.embedded.growing`)."""

    def add(self, batch: pa.RecordBatch) -> None:
        """Add points with new ids: rows of a vector log."""

    def finish(self, log: VectorLog) -> None:
        """Make the files of the index; `log` has exactly the points that were added."""


@dataclass(frozen=True)
class Engine:
    """An embedded engine: a module with `check_options`, `build` and `open_index`, and the defaults of its options.

    The module may also have `grow`, which returns a `Growth`, or None if its index cannot grow with these options. A
    new index records its `initial` options. Where none is recorded, `build_options` say how older versions built it.
    """

    module: str
    build_options: Mapping[str, str]
    search_options: Mapping[str, str]
    initial: Mapping[str, str] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, str]:
        """The defaults of all options."""
        return {**self.build_options, **self.search_options}

    def load(self) -> Any:
        """Import and return the module."""
        return import_module(self.module)


ENGINES: Mapping[str, Engine] = {
    "edge": Engine(
        "cbir.stores.embedded.edge",
        {
            "m": "16",
            "ef_construct": "100",
            "quantization": "none",
            "on_disk": "0",
            "index_field": "",
            "datatype": "float32",
        },
        {"ef": "128", "rescore": "1", "oversampling": "2"},
        {"datatype": "float16"},
    ),
    "faiss": Engine(
        "cbir.stores.embedded.faiss_index",
        {"index": "HNSW16", "ef_construct": "100"},
        {"ef": "128", "nprobe": "16", "oversampling": "4"},
        {"index": "HNSW16_SQfp16"},
    ),
}


def fill(growth: Growth, log: VectorLog, advance: Advance) -> None:
    """Add all points of a log to an index, and make its files; `advance` is called with the number of points added."""
    for batch in log.batches():
        growth.add(batch)
        advance(batch.num_rows)
        log.release()
    growth.finish(log)
