"""Builds an index of the embedded Qdrant engine (qdrant-edge)."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from qdrant_edge import (
    BinaryQuantizationConfig,
    BoolIndexParams,
    CompressionRatio,
    Distance,
    EdgeConfig,
    EdgeOptimizersConfig,
    EdgeShard,
    EdgeVectorParams,
    FloatIndexParams,
    HnswIndexConfig,
    IntegerIndexParams,
    KeywordIndexParams,
    Point,
    ProductQuantizationConfig,
    ScalarQuantizationConfig,
    ScalarType,
    TurboQuantBitSize,
    TurboQuantQuantizationConfig,
    UpdateOperation,
    VectorStorageDatatype,
)

from cbir.errors import CbirError, DamageError, UsageError
from cbir.filters.evaluate import Column, PayloadTable
from cbir.filters.translate import field_path
from cbir.index.log_format import as_matrix, fixed_bytes
from cbir.index.vector_log import VectorLog
from cbir.records import IDENTITY, Payload
from cbir.stores.engines import fill

logger = logging.getLogger(__name__)
BLOCK = "cbir:block"
"""A field of each point in the engine, a random number. No payload has a field of this name."""
_FULL_SCAN_KB = 10_000
_DATATYPES = {"float32": VectorStorageDatatype.Float32, "float16": VectorStorageDatatype.Float16}
_QUANTIZATION = {
    "none": None,
    "scalar": ScalarQuantizationConfig(ScalarType.Int8, quantile=0.99, always_ram=True),
    "product": ProductQuantizationConfig(CompressionRatio.X16, always_ram=True),
    "binary": BinaryQuantizationConfig(always_ram=True),
    "turbo": TurboQuantQuantizationConfig(always_ram=True, bits=TurboQuantBitSize.Bits4),
}

_MOST_INDEXED = 8
_INDEX_KINDS: Mapping[type, Callable[[bool], Any]] = {
    str: lambda links: KeywordIndexParams(enable_hnsw=links),
    int: lambda links: IntegerIndexParams(lookup=False, range=True, enable_hnsw=links),  # only compared with ranges
    float: lambda links: FloatIndexParams(enable_hnsw=links),
    bool: lambda links: BoolIndexParams(enable_hnsw=links),
}


def check_options(options: Mapping[str, str], dimension: int) -> None:
    """Raise `UsageError` if the index cannot be built with these options."""
    if int(options["ef_construct"]) < 4:
        raise UsageError(f"edge: ef_construct must be at least 4, not {options['ef_construct']}")


def build(folder: Path, log: VectorLog, options: Mapping[str, str], advance: Callable[[int], None]) -> None:
    """Build the index of all points of `log` in the empty or missing `folder`, and check it against the log."""
    fill(Growth(folder, log.dimension, options), log, advance)


def grow(folder: Path, dimension: int, options: Mapping[str, str]) -> "Growth":
    """Return an empty shard."""
    return Growth(folder, dimension, options)


class Growth:
    """A shard that is filled; see `cbir.stores.engines.Growth`. Its points are in files, so it needs little memory."""

    def __init__(self, folder: Path, dimension: int, options: Mapping[str, str]):
        self._folder, self._options, self._dimension, self._count = folder, options, dimension, 0
        on_disk, datatype = options["on_disk"] == "1", _DATATYPES[options["datatype"]]
        scanned = _FULL_SCAN_KB // 2 if datatype is VectorStorageDatatype.Float16 else _FULL_SCAN_KB
        config = EdgeConfig(
            vectors=EdgeVectorParams(dimension, Distance.Cosine, on_disk, datatype=datatype),
            hnsw_config=HnswIndexConfig(
                m=int(options["m"]),
                ef_construct=int(options["ef_construct"]),
                full_scan_threshold=scanned,
                on_disk=on_disk,
            ),
            quantization_config=_QUANTIZATION[options["quantization"]],
            optimizers=EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=scanned),
            wal_enabled=False,  # an index that was not finished is built again from the vector log
        )
        with plain_errors(folder):
            self._shard = EdgeShard.create(str(folder), config)

    def add(self, batch: pa.RecordBatch) -> None:
        ids = np.frombuffer(fixed_bytes(batch.column(0), 16), "V16")
        vectors = as_matrix(batch.column(5), self._dimension)
        payloads = map(_filtered_by, map(orjson.loads, batch.column(3).to_pylist()))
        points = [  # a list of floats would take five times as long
            Point(position, memoryview(vector), {**payload, BLOCK: int.from_bytes(point_id[:4])})  # type: ignore[arg-type]
            for position, (point_id, vector, payload) in enumerate(
                zip(ids.tolist(), vectors, payloads, strict=True), self._count
            )
        ]
        self._count += len(points)
        with plain_errors(self._folder):
            self._shard.update(UpdateOperation.upsert_points(points))

    def finish(self, log: VectorLog) -> None:
        with plain_errors(self._folder):
            for field, kind in _index_fields(log.table, self._options["index_field"]):
                self._shard.update(UpdateOperation.create_field_index(field_path(field), kind))
            self._shard.optimize()
            self._shard.flush()
            points_count = self._shard.info().points_count
            self._shard.close()
        if points_count != len(log):
            raise DamageError(f"{self._folder} holds {points_count:,} points of {len(log):,} after building")


def _filtered_by(payload: Payload) -> Payload:
    """Return the payload fields that the engine needs: hits have theirs from the log."""
    return {name: value for name, value in payload.items() if name not in IDENTITY}


def _index_fields(table: PayloadTable, requested: str) -> list[tuple[str, Any]]:
    """Return the fields to index with the parameters, before the graph is built.

    The graph gets more links inside each class, range of values and block of a field, since those of all points do not
    connect the points that match a filter. To make them for every field would take longer than the graph, so they are
    made for the label, the requested fields and `BLOCK`, a random number, which connects the points of any class.
    """
    linked = {"label", *requested.split(",")}
    fields = [(field, _INDEX_KINDS[kind](field in linked)) for field, kind in _filter_fields(table, requested)]
    return [*fields, (BLOCK, _INDEX_KINDS[int](True))]


def _filter_fields(table: PayloadTable, requested: str) -> list[tuple[str, type]]:
    """Return the fields to filter by, with their types: the requested ones and the label, or else the first few.

    The engine syncs every index when it makes one more, so that many would take minutes. Fields with values of several
    kinds and texts that hardly ever repeat get no index.
    """
    columns = {field: column for field, column in table.columns.items() if field not in IDENTITY and '"' not in field}
    names = ["label", *requested.split(",")] if requested else [name for name in columns if _repeats(columns[name])]
    kinds = [(name, _kind(columns[name])) for name in names if name in columns]
    indexed = {name for name, kind in kinds if kind is not None}
    if missing := [name for name in requested.split(",") if name and name not in indexed]:
        what = f"{', '.join(missing)}: no image has such a field, or its values are of several kinds"
        logger.warning("warning: no index for %s; the fields are %s", what, ", ".join(columns))
    return [(name, kind) for name, kind in kinds if kind is not None][: None if requested else _MOST_INDEXED]


def _repeats(column: Column) -> bool:
    return not isinstance(next(iter(column.values), None), str) or 2 * len(column.values) <= len(column.positions)


def _kind(column: Column) -> type | None:
    kinds = {type(value) for value in column.values}
    if kinds == {int, float}:
        return float
    return kinds.pop() if len(kinds) == 1 and kinds <= _INDEX_KINDS.keys() else None


@contextmanager
def plain_errors(folder: Path) -> Iterator[None]:
    """Raise the engine's errors as `CbirError`, also its panics, which are not an `Exception`."""
    try:
        yield
    except (CbirError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise CbirError(f"the embedded engine failed in {folder}: {error}") from error
