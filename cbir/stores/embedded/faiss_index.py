"""A FAISS index, by factory string, as an index of a generation.

FAISS knows vectors by position only. Ids and payloads come from the vector log, which has the same positions.
"""

import math
import os
import re
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cbir.errors import DamageError, UsageError
from cbir.filters.conditions import Filter
from cbir.index.log_format import as_matrix
from cbir.index.vector_log import VectorLog
from cbir.records import Vector
from cbir.stores.base import DEFAULT_PARAMS, SearchParams
from cbir.stores.engines import HALF, Found, fill
from cbir.text import one_line

_FILE = "index.faiss"
_TRAIN_ROWS = 100_000
_CHUNK = 10_000
_ADDED_AT_ONCE = 2000
_FEW = 0.25
_MORE = 4
_PARAMS_KEPT = 64
_MOST_LOOPS = 2**26
_faiss: Any = faiss  # its stubs lack many search parameters
_LIST_PARAMETERS: dict[Any, Any] = {
    faiss.IndexIVFRaBitQ: _faiss.IVFRaBitQSearchParameters,
    faiss.IndexIVFPQ: _faiss.IVFPQSearchParameters,
    faiss.IndexIVF: _faiss.SearchParametersIVF,
}
_ERRORS = {faiss.ScalarQuantizer.QT_fp16: HALF, faiss.ScalarQuantizer.QT_bf16: 8 * HALF}
_SCALAR = (faiss.IndexScalarQuantizer, faiss.IndexIVFScalarQuantizer)
_SELECTING = (faiss.IndexFlat, faiss.IndexScalarQuantizer, _faiss.IndexRaBitQ)
"""The indexes without inverted lists that can search a selection of vectors; the others take no parameters."""


def check_options(options: Mapping[str, str], dimension: int) -> None:
    """Raise `UsageError` if the index cannot be built with these options."""
    for name, low, high in (("HNSW", 2, 512), ("IVF", 1, 2**24)):  # FAISS accepts other numbers and crashes later
        for number in re.findall(rf"{name}(\d+)", options["index"]):
            if not low <= int(number) <= high:
                raise UsageError(f"FAISS index {options['index']!r}: the number behind {name} is {low} to {high:,}")
    _new_index(options["index"], dimension)


def build(folder: Path, log: VectorLog, options: Mapping[str, str], advance: Callable[[int], None]) -> None:
    """Build the index of all points of `log` in the empty or missing `folder`."""
    growth = Growth(folder, log.dimension, options)
    if not growth.index.is_trained:
        _train(growth.index, log, options["index"])
    fill(growth, log, advance)


def grow(folder: Path, dimension: int, options: Mapping[str, str]) -> "Growth | None":
    """Return an empty index; None if it has to be trained with all points first."""
    faiss.omp_set_num_threads(1)  # two threads wait for each other, and take a third more processor time
    growth = Growth(folder, dimension, options)
    return growth if growth.index.is_trained else None


class Growth:
    """An index that is filled in memory; see `cbir.stores.engines.Growth`."""

    def __init__(self, folder: Path, dimension: int, options: Mapping[str, str]):
        self.index = _new_index(options["index"], dimension)
        if graph := _inner(self.index, faiss.IndexHNSW):
            graph.hnsw.efConstruction = int(options["ef_construct"])
        self._folder, self._dimension = folder, dimension
        self._waiting: list[Vector] = []

    def add(self, batch: pa.RecordBatch) -> None:
        self._waiting.append(as_matrix(batch.column(5), self._dimension).copy())
        if sum(map(len, self._waiting)) >= _ADDED_AT_ONCE:
            self._add_waiting()

    def finish(self, log: VectorLog) -> None:
        self._add_waiting()
        if self.index.ntotal != len(log):
            raise DamageError(f"{self._folder} holds {self.index.ntotal:,} points of {len(log):,} after building")
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._folder / f"{_FILE}.tmp"
        faiss.write_index(self.index, str(temporary))
        temporary.replace(self._folder / _FILE)

    def _add_waiting(self) -> None:
        if self._waiting:
            vectors = np.concatenate(self._waiting)
            self._waiting.clear()
            self.index.add(vectors)


class FaissIndex:
    """A FAISS index open for searching.

    FAISS can filter by position only, so the log's payload table evaluates a filter first (see `_filtered`).
    """

    filtering = "payload table"

    def __init__(self, folder: Path, log: VectorLog, options: Mapping[str, str]):
        self._owner = _read(folder / _FILE)  # keeps alive what is cast from it
        self._index: Any = faiss.downcast_index(self._owner)
        self._log = log
        self._options = options
        self.indexed = int(self._index.ntotal)
        self._unfiltered_parameters = lru_cache(_PARAMS_KEPT)(partial(_parameters, self._index, options))
        self._squared = self._index.metric_type == faiss.METRIC_L2
        self._graph, self._lists = _inner(self._index, faiss.IndexHNSW), _inner(self._index, faiss.IndexIVF)
        codes: Any = self._storage
        self.error = _ERRORS.get(codes.sq.qtype, 0.0) if isinstance(codes, _SCALAR) else 0.0
        self.access = "graph" if self._graph else "ivf" if self._lists else "scan"
        if self._graph:
            self._graph.hnsw.efSearch = int(options["ef"])
        if self._lists:
            self._lists.nprobe = int(options["nprobe"])
        if refined := _inner(self._index, faiss.IndexRefine):
            refined.k_factor = float(options["oversampling"])

    def search(self, vectors: Vector, k: int, params: SearchParams = DEFAULT_PARAMS, filter: Filter = ()) -> Found:
        queries = np.ascontiguousarray(vectors, np.float32)
        if params.exact:
            selector = _Selector(self._log.table.mask(filter)) if filter else None
            return _search(self._compared, queries, k, _native(self._compared, self.indexed, selector=selector))
        if filter:
            return self._filtered(queries, k, params, filter)
        scores, positions = self._with_cosines(queries, k, self._unfiltered_parameters(params))
        if self._graph and min(positions[:, -1].tolist()) < 0:  # exact copies link only to each other: a walk ends
            lacking, everything = positions[:, -1] < 0, np.ones(self.indexed, bool)
            scores[lacking], positions[lacking] = self._scan(queries[lacking], k, params, everything)
        return scores, positions

    def raw(self, vector: Vector, k: int, ef: int | None = None) -> Callable[[], object]:
        index, query = self._index, np.ascontiguousarray(vector[None], np.float32)
        native = _native(index, ef) if ef else None
        return lambda: index.search(query, k, params=native)

    def close(self) -> None:
        """There is nothing to release but memory."""

    def _filtered(self, queries: Vector, k: int, params: SearchParams, filter: Filter) -> Found:
        """Return scores and positions (Q, k) of matching points, padded with -1.

        A graph returns the 4 `ef` best of all points; if k of them match, these are the answer. Otherwise, and if few
        points match, all that match are scanned. The fewer points match, the more inverted lists are searched.
        """
        chosen = self._log.table.mask(filter)
        wanted = int(chosen.sum())
        if self._lists:
            probes = math.ceil(_ef(self._index, params, self._options) * self.indexed / max(wanted, 1))
            native = partial(_native, self._index, params=params, selector=_Selector(chosen))
            fetch = partial(_search, self._index, native=native(probes))
            again = partial(_search, self._index, native=native(self._lists.nlist))
        elif self._graph and wanted >= _FEW * self.indexed:
            fetch = partial(self._walk, ef=_ef(self._index, params, self._options), params=params, chosen=chosen)
            again = partial(self._scan, params=params, chosen=chosen)
        else:
            return self._scan(queries, k, params, chosen)
        scores, positions = fetch(queries, k)
        lacking = (positions >= 0).sum(axis=1) < min(k, wanted)
        if lacking.any():
            scores[lacking], positions[lacking] = again(queries[lacking], k)
        return scores, positions

    def _walk(self, queries: Vector, k: int, ef: int, params: SearchParams, chosen: npt.NDArray[np.bool_]) -> Found:
        """Return those of the best points that are chosen, (Q, k), padded with -1."""
        ef = max(k, _MORE * ef)
        scores, positions = self._with_cosines(queries, ef, _native(self._index, ef, params))
        left_out = (positions < 0) | ~chosen[positions]
        order = np.argsort(left_out, axis=1, kind="stable")[:, :k]
        positions = np.where(left_out, -1, positions)
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(positions, order, axis=1)

    def _with_cosines(self, queries: Vector, k: int, native: Any) -> Found:
        """Search the index itself. FAISS makes `HNSW16_PQ16x4` with squared distances, which give the cosine, too."""
        scores, positions = _search(self._index, queries, k, native)
        return np.asarray(1 - scores / 2, np.float32) if self._squared else scores, positions

    def _scan(self, queries: Vector, k: int, params: SearchParams, chosen: npt.NDArray[np.bool_]) -> Found:
        """Compare with every chosen vector: as the index stores it if the index can select, otherwise in full."""
        storage: Any = self._storage if _inner(self._storage, _SELECTING) else self._flat
        return _search(storage, queries, k, _native(storage, k, params, _Selector(chosen)))

    @property
    def _storage(self) -> faiss.Index:
        """The index that holds the vectors: the storage of a graph, or the index itself."""
        index = self._index
        return faiss.downcast_index(index.storage) if isinstance(index, faiss.IndexHNSW) else index

    @property
    def _compared(self) -> faiss.Index:
        """The index to compare with all vectors: in half the precision if the index has them so, in full otherwise."""
        return self._storage if self.error else self._flat

    @cached_property
    def _flat(self) -> faiss.Index:
        """The full vectors as a flat index: the index's own storage if it has them, otherwise built from the log."""
        if isinstance(self._storage, faiss.IndexFlat):
            return self._storage
        flat = faiss.IndexFlatIP(self._log.dimension)
        for start in range(0, len(self._log), _CHUNK):
            flat.add(self._log.vectors(start, start + _CHUNK))
        return flat


class _Selector(faiss.IDSelectorBitmap):
    """Selects the positions of a mask, and keeps the bits that FAISS only points to alive."""

    def __init__(self, mask: npt.NDArray[np.bool_]):
        self._bits = np.packbits(mask, bitorder="little")
        super().__init__(len(self._bits), faiss.swig_ptr(self._bits))


def open_index(folder: Path, log: VectorLog, options: Mapping[str, str]) -> FaissIndex:
    """Open a built index for searching; `DamageError` if it does not hold all points of the log."""
    index = FaissIndex(folder, log, options)
    if index.indexed != len(log):
        raise DamageError(f"{folder} holds {index.indexed:,} points of {len(log):,}")
    return index


def _search(index: Any, queries: Vector, k: int, native: Any) -> Found:
    """Return what `index.search` returns, without its checks: FAISS pads positions with -1."""
    scores, positions = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    index.search_c(len(queries), faiss.swig_ptr(queries), k, faiss.swig_ptr(scores), faiss.swig_ptr(positions), native)
    return scores, positions


def _parameters(index: Any, options: Mapping[str, str], params: SearchParams) -> Any:
    """Return FAISS's parameters of a search without a filter; None for those that the index has itself."""
    default = params.ef is params.nprobe is params.oversampling is None
    return None if default else _native(index, _ef(index, params, options), params)


def _ef(index: Any, params: SearchParams, options: Mapping[str, str]) -> int:
    """Return the number of candidates that a graph search keeps, or of inverted lists to search instead."""
    if _inner(index, faiss.IndexIVF):
        return params.nprobe or params.ef or int(options["nprobe"])
    return params.ef or int(options["ef"])


def _native(index: Any, ef: int, params: SearchParams = DEFAULT_PARAMS, selector: "_Selector | None" = None) -> Any:
    """Return FAISS's search parameters for an index and all indexes inside it; see `_ef`."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return _faiss.SearchParametersPreTransform(index_params=_native(index.index, ef, params, selector))
    if isinstance(index, faiss.IndexRefine):
        inner = _native(index.base_index, ef, params, selector)
        factor = params.oversampling or index.k_factor
        return _faiss.IndexRefineSearchParameters(k_factor=factor, base_index_params=inner)
    if isinstance(index, faiss.IndexHNSW):
        return _faiss.SearchParametersHNSW(efSearch=ef)
    if isinstance(index, faiss.IndexIVF):
        kind = next((kind for kind in _LIST_PARAMETERS if isinstance(index, kind)), faiss.IndexIVF)
        return _LIST_PARAMETERS[kind](sel=selector, nprobe=min(index.nlist, ef))
    return _faiss.SearchParameters(sel=selector) if selector else None


def _train(index: faiss.Index, log: VectorLog, factory: str) -> None:
    rows = np.sort(np.random.default_rng(0).permutation(len(log))[:_TRAIN_ROWS])
    starts = range(0, len(log), _CHUNK)
    sample = np.concatenate([log.vectors(i, i + _CHUNK)[rows[(rows >= i) & (rows < i + _CHUNK)] - i] for i in starts])
    try:
        index.train(sample)
    except RuntimeError as error:
        raise UsageError(f"FAISS cannot train {factory} on {len(sample):,} points: {one_line(error)[:200]}") from None


def _inner(index: faiss.Index, kind: type[faiss.Index] | tuple[type[faiss.Index], ...]) -> Any:
    """Return the index itself or the one inside it that is of this kind, or None."""
    index = faiss.downcast_index(index)
    while not isinstance(index, kind):
        if isinstance(index, faiss.IndexPreTransform):
            index = faiss.downcast_index(index.index)
        elif isinstance(index, faiss.IndexRefine):
            index = faiss.downcast_index(index.base_index)
        else:
            return None
    return index


def _read(path: Path) -> faiss.Index:
    """Return the index in a file that was checked against the manifest. It is mapped, not read."""
    size = path.stat().st_size
    faiss.set_deserialization_loop_limit(_MOST_LOOPS)
    faiss.set_deserialization_vector_byte_limit(max(size, 2**20))
    try:
        return faiss.read_index(os.fspath(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise DamageError(f"{path} cannot be read: {one_line(error)}") from None


def _new_index(factory: str, dimension: int) -> faiss.Index:
    try:
        return faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError:
        raise UsageError(
            f"FAISS knows no index {factory!r} for {dimension} dimensions; use a factory string such as Flat, HNSW16 or"
            " IVF256,Flat"
        ) from None
