"""A FAISS index, by factory string, as an index of a generation.

FAISS knows vectors by position and nothing else; ids and payload come from the vector log, whose positions the
index shares.
"""

import os
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

import faiss
import numpy as np

from cbir.errors import DamageError, UsageError
from cbir.records import Hit, Vector
from cbir.vector_log import VectorLog

_FILE = "index.faiss"
_TRAIN_ROWS = 100_000
_CHUNK = 10_000


def check_options(options: Mapping[str, str], dimension: int) -> None:
    """Raise `UsageError` unless FAISS can make such an index; asked before any image is read."""
    for name, least, most in (("HNSW", 2, 512), ("IVF", 1, 2**24)):  # outside of these it takes them, and crashes later
        for number in re.findall(rf"{name}(\d+)", options["index"]):
            if not least <= int(number) <= most:
                raise UsageError(f"FAISS index {options['index']!r}: the number behind {name} is {least} to {most:,}")
    _new_index(options["index"], dimension)


def build(folder: Path, log: VectorLog, options: Mapping[str, str], advance: Callable[[int], None]) -> None:
    """Build the index of all points of `log` in the empty or missing `folder`.

    Raises:
        UsageError: FAISS knows no such factory string, or needs more points to train on.
    """
    index = _new_index(options["index"], log.dimension)
    hnsw = _hnsw(index)
    if hnsw is not None:
        hnsw.efConstruction = int(options["ef_construct"])
    if not index.is_trained:
        _train(index, log, options["index"])
    for start in range(0, len(log), _CHUNK):
        vectors = log.vectors(start, start + _CHUNK)
        index.add(vectors)
        advance(len(vectors))
    if index.ntotal != len(log):
        raise DamageError(f"{folder} holds {index.ntotal:,} points of {len(log):,} after building")
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f"{_FILE}.tmp"
    faiss.write_index(index, str(beside))
    beside.replace(folder / _FILE)


class FaissIndex:
    """A FAISS index open for searching."""

    def __init__(self, folder: Path, log: VectorLog, options: Mapping[str, str]):
        try:
            self._index = faiss.read_index(os.fspath(folder / _FILE))
        except RuntimeError as error:
            raise DamageError(f"{folder / _FILE} cannot be read: {' '.join(str(error).split())}") from None
        self._log = log
        self.indexed = int(self._index.ntotal)
        hnsw, lists = _hnsw(self._index), faiss.try_extract_index_ivf(self._index)
        self.access = "graph" if hnsw is not None else "lists" if lists is not None else "scan"
        if hnsw is not None:
            hnsw.efSearch = int(options["ef"])
        if lists is not None:
            lists.nprobe = int(options["nprobe"])

    def search(self, vectors: Vector, k: int, exact: bool) -> list[list[Hit]]:
        """Return the at most k best hits of each vector, with payload; FAISS pads with -1, which is left out."""
        queries = np.ascontiguousarray(vectors, np.float32)
        if exact:
            scores, positions = self._flat.search(queries, k)
        else:
            scores, positions = self._index.search(queries, k)
        log = self._log
        return [
            [
                Hit(log.id(position), score, log.payload(position))
                for score, position in zip(row_scores, row_positions, strict=True)
                if position >= 0
            ]
            for row_scores, row_positions in zip(scores.tolist(), positions.tolist(), strict=True)
        ]

    def raw(self, vector: Vector, k: int) -> Callable[[], object]:
        """See `cbir.stores.Index.raw`."""
        index, query = self._index, np.ascontiguousarray(vector[None], np.float32)
        return lambda: index.search(query, k)

    def close(self) -> None:
        """Nothing to release but memory."""

    @cached_property
    def _flat(self) -> faiss.Index:
        """Return the whole vectors as a flat index: the index's own where it keeps them, else from the log."""
        inner = faiss.downcast_index(self._index)
        storage = faiss.downcast_index(inner.storage) if isinstance(inner, faiss.IndexHNSW) else inner
        if isinstance(storage, faiss.IndexFlat):
            return storage
        flat = faiss.IndexFlatIP(self._log.dimension)
        flat.add(self._log.vectors())
        return flat


def open_index(folder: Path, log: VectorLog, options: Mapping[str, str]) -> FaissIndex:
    """Open a built index for searching.

    Raises:
        DamageError: The file cannot be read, or does not hold as many points as the log.
    """
    index = FaissIndex(folder, log, options)
    if index.indexed != len(log):
        raise DamageError(f"{folder} holds {index.indexed:,} points of {len(log):,}")
    return index


def _train(index: faiss.Index, log: VectorLog, factory: str) -> None:
    rows = np.sort(np.random.default_rng(0).permutation(len(log))[:_TRAIN_ROWS])
    starts = range(0, len(log), _CHUNK)
    sample = np.concatenate(
        [log.vectors(at, at + _CHUNK)[rows[(rows >= at) & (rows < at + _CHUNK)] - at] for at in starts]
    )
    try:
        index.train(sample)
    except RuntimeError as error:
        raise UsageError(
            f"FAISS cannot train {factory} on {len(sample):,} points: {' '.join(str(error).split())[:200]}"
        ) from None


def _hnsw(index: faiss.Index) -> "faiss.HNSW | None":
    inner = faiss.downcast_index(index)
    while isinstance(inner, faiss.IndexPreTransform):
        inner = faiss.downcast_index(inner.index)
    return inner.hnsw if isinstance(inner, faiss.IndexHNSW) else None


def _new_index(factory: str, dimension: int) -> faiss.Index:
    try:
        return faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError:
        raise UsageError(
            f"FAISS knows no index {factory!r} for {dimension} dimensions; Flat, HNSW16 and IVF256,Flat are examples"
            " of what it calls a factory string"
        ) from None
