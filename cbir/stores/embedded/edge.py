"""The embedded Qdrant engine (qdrant-edge) as an index of a generation.

Opening a shard locks its write-ahead log and rewrites its config: two programs could not read one shard, and a
published file would change. A reader therefore opens a private view. It has hard links to the segments, which reading
does not change, and a config and a write-ahead log of its own.
"""

import fcntl
import logging
import os
import shutil
import tempfile
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import qdrant_edge
from qdrant_edge import (
    AcornSearchParams,
    BinaryQuantizationConfig,
    CompressionRatio,
    Distance,
    EdgeConfig,
    EdgeOptimizersConfig,
    EdgeShard,
    EdgeVectorParams,
    HasIdCondition,
    HnswIndexConfig,
    IntegerIndexParams,
    PayloadSchemaType,
    Point,
    ProductQuantizationConfig,
    QuantizationSearchParams,
    Query,
    QueryBatchRequest,
    QueryRequest,
    RangeFloat,
    ScalarQuantizationConfig,
    ScalarType,
    TurboQuantBitSize,
    TurboQuantQuantizationConfig,
    UpdateOperation,
)

from cbir.errors import CbirError, DamageError, UsageError
from cbir.filters.conditions import Filter
from cbir.filters.evaluate import Column, PayloadTable
from cbir.filters.translate import Dialect, field_path, filtered_ef, qdrant_filter
from cbir.index import layout
from cbir.index.files import files_below
from cbir.index.vector_log import VectorLog
from cbir.records import IDENTITY, Hit, Vector
from cbir.stores.base import DEFAULT_PARAMS, SearchParams

logger = logging.getLogger(__name__)
_SEGMENTS = "segments"
_CONFIG = "edge_config.json"
_WAL = "wal"
_FULL_SCAN_KB = 10_000
_POINTS_AT_ONCE = 1000
_FILTERS_KEPT = 8
_DIALECT = Dialect(qdrant_edge, RangeFloat, np.bool_)  # a Python bool is taken for a number
_WHOLE = QuantizationSearchParams(ignore=True)
_ACORN = AcornSearchParams(enable=True, max_selectivity=1.0)
_QUANTIZATION = {
    "none": None,
    "scalar": ScalarQuantizationConfig(ScalarType.Int8, quantile=0.99, always_ram=True),
    "product": ProductQuantizationConfig(CompressionRatio.X16, always_ram=True),
    "binary": BinaryQuantizationConfig(always_ram=True),
    "turbo": TurboQuantQuantizationConfig(always_ram=True, bits=TurboQuantBitSize.Bits4),
}

_MOST_INDEXED = 8
_INDEX_KINDS: Mapping[type, Any] = {
    str: PayloadSchemaType.Keyword,
    int: IntegerIndexParams(lookup=False, range=True),  # numbers are always compared with a range
    float: PayloadSchemaType.Float,
    bool: PayloadSchemaType.Bool,
}


def check_options(options: Mapping[str, str], dimension: int) -> None:
    """Raise `UsageError` if the index cannot be built with these options."""
    if int(options["ef_construct"]) < 4:
        raise UsageError(f"edge: ef_construct must be at least 4, not {options['ef_construct']}")


def build(folder: Path, log: VectorLog, options: Mapping[str, str], advance: Callable[[int], None]) -> None:
    """Build the index of all points of `log` in the empty or missing `folder`, and check it against the log."""
    on_disk = options["on_disk"] == "1"
    config = EdgeConfig(
        vectors=EdgeVectorParams(size=log.dimension, distance=Distance.Cosine, on_disk=on_disk),
        hnsw_config=HnswIndexConfig(
            m=int(options["m"]),
            ef_construct=int(options["ef_construct"]),
            full_scan_threshold=_FULL_SCAN_KB,
            on_disk=on_disk,
        ),
        quantization_config=_QUANTIZATION[options["quantization"]],
        optimizers=EdgeOptimizersConfig(default_segment_number=1),
    )
    with _plain_errors(folder):
        shard = EdgeShard.create(str(folder), config)
        stored = (Point(point.id, point.vector.tolist(), dict(point.payload)) for point in log.points())
        while points := list(islice(stored, _POINTS_AT_ONCE)):
            shard.update(UpdateOperation.upsert_points(points))
            shard.flush()  # empties the write-ahead log, which would grow to the size of all vectors
            advance(len(points))
        for field, kind in _filter_fields(log.table, options["index_field"]):  # first, as the graph gets links for them
            shard.update(UpdateOperation.create_field_index(field_path(field), kind))
        shard.optimize()
        shard.flush()
        points_count = shard.info().points_count
        shard.close()
    if points_count != len(log):
        raise DamageError(f"{folder} holds {points_count:,} points of {len(log):,} after building")
    shutil.rmtree(folder / _WAL)  # everything is in the segments now


def _filter_fields(table: PayloadTable, requested: str) -> list[tuple[str, Any]]:
    """Return the fields to index with their kinds: the requested ones and the label, or else the first few.

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


def _kind(column: Column) -> Any:
    kinds = {type(value) for value in column.values}
    if kinds == {int, float}:
        kinds = {float}
    return _INDEX_KINDS.get(kinds.pop()) if len(kinds) == 1 else None


class EdgeIndex:
    """A shard open for searching."""

    filtering = "engine"

    def __init__(self, folder: Path, log: VectorLog, options: Mapping[str, str]):
        self._view, self._lock = _private_view(folder)
        with _plain_errors(folder):
            self._shard = EdgeShard.load(str(self._view))
            info = self._shard.info()
        self._discard = weakref.finalize(self, _discard, self._shard, self._view, self._lock)
        self._ef = int(options["ef"])
        self._rescore = options["rescore"] == "1"
        self._oversampling = float(options["oversampling"])
        self._folder = folder
        self._indexed_fields = frozenset(info.payload_schema)
        self._matching = lru_cache(_FILTERS_KEPT)(partial(_ids_that_match, log))
        self.count = info.points_count
        self.indexed = info.indexed_vectors_count
        self.access = "graph" if self.indexed else "scan"

    def search(
        self, vectors: Vector, k: int, params: SearchParams = DEFAULT_PARAMS, filter: Filter = ()
    ) -> list[list[Hit]]:
        walk = self._walk(params, filtered=bool(filter))
        chosen = self._engine_filter(filter)
        requests = [
            QueryRequest(limit=k, query=Query.Nearest(vector), with_payload=True, params=walk, filter=chosen)
            for vector in vectors.tolist()
        ]
        with _plain_errors(self._folder):
            if len(requests) == 1:
                answers = [self._shard.query(requests[0])]
            else:
                answers = self._shard.query_batch(QueryBatchRequest(requests))
        return [[Hit(str(point.id), point.payload or {}, point.score) for point in answer] for answer in answers]

    def raw(self, vector: Vector, k: int, ef: int | None = None) -> Callable[[], object]:
        shard, walk = self._shard, self._walk(SearchParams(ef))
        return lambda: shard.query(
            QueryRequest(limit=k, query=Query.Nearest(vector.tolist()), with_payload=True, params=walk)
        )

    def _engine_filter(self, filter: Filter) -> Any:
        """Return the filter for the engine, which would read all payloads for a field without an index."""
        others = tuple(condition for condition in filter if field_path(condition.field) not in self._indexed_fields)
        if not others:
            return qdrant_filter(filter, _DIALECT)
        indexed = qdrant_filter(tuple(condition for condition in filter if condition not in others), _DIALECT)
        return qdrant_edge.Filter(must=[self._matching(others), *([indexed] if indexed else [])])

    def _walk(self, params: SearchParams, filtered: bool = False) -> qdrant_edge.SearchParams:
        """Return how to search the graph. A filtered search continues through points that do not match (ACORN).

        Without it, parts of a class that are not connected are missed: with a filter that kept every fifth of 37,000
        images, recall was 0.79, and 0.98 with it.
        """
        if params.exact:
            return qdrant_edge.SearchParams(exact=True, quantization=_WHOLE)
        ef = params.ef or self._ef
        return qdrant_edge.SearchParams(
            hnsw_ef=filtered_ef(ef) if filtered else ef,
            quantization=QuantizationSearchParams(
                rescore=self._rescore, oversampling=params.oversampling or self._oversampling
            ),
            acorn=_ACORN if filtered else None,
        )

    def close(self) -> None:
        self._discard()


def _ids_that_match(log: VectorLog, filter: Filter) -> HasIdCondition:
    return HasIdCondition({log.id(position) for position in np.flatnonzero(log.table.mask(filter)).tolist()})


def open_index(folder: Path, log: VectorLog, options: Mapping[str, str]) -> EdgeIndex:
    """Open a built index for searching; `DamageError` if it does not hold all points of the log."""
    index = EdgeIndex(folder, log, options)
    if index.count != len(log):
        index.close()
        raise DamageError(f"{folder} holds {index.count:,} points of {len(log):,}")
    return index


def _private_view(folder: Path) -> tuple[Path, IO[bytes]]:
    """Make a view of a built shard and return it with the lock that marks it as in use."""
    try:
        for path in files_below(folder):
            if not os.access(path, os.W_OK):  # the engine maps files as writable, though it only reads
                raise PermissionError(path)
        return _new_view(folder, folder.parent.parent / layout.VIEWS, os.link)
    except OSError:  # a read-only index folder, or a file system without hard links
        views = Path(tempfile.gettempdir()) / f"cbir-views-{os.getuid()}"
        views.mkdir(mode=0o700, exist_ok=True)
        if views.stat().st_uid != os.getuid():
            raise CbirError(f"{views} belongs to another user; remove it, or make {folder} writable") from None
        return _new_view(folder, views, shutil.copyfile)


def _new_view(folder: Path, views: Path, copy: Callable[[Path, Path], object]) -> tuple[Path, IO[bytes]]:
    views.mkdir(exist_ok=True)
    _remove_stale(views)
    view = views / uuid.uuid4().hex
    lock = view.with_suffix(".lock").open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX)
    for path in files_below(folder / _SEGMENTS):
        target = view / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        copy(path, target)
    shutil.copyfile(folder / _CONFIG, view / _CONFIG)
    return view, lock


def _remove_stale(views: Path) -> None:
    """Remove the views of readers that died without closing, so that nobody holds their locks."""
    for path in views.glob("*.lock"):
        try:
            with path.open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                path.unlink(missing_ok=True)
        except OSError:  # in use, or just removed by another reader
            continue


def _discard(shard: EdgeShard, view: Path, lock: IO[bytes]) -> None:
    shard.close()
    shutil.rmtree(view, ignore_errors=True)
    view.with_suffix(".lock").unlink(missing_ok=True)
    lock.close()


@contextmanager
def _plain_errors(folder: Path) -> Iterator[None]:
    """Raise the engine's errors as `CbirError`, also its panics, which are not an `Exception`."""
    try:
        yield
    except (CbirError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise CbirError(f"the embedded engine failed in {folder}: {error}") from error
