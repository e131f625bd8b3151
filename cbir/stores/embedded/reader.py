"""An embedded collection open for reading: a published generation's log, one of its indexes, and the tail.

The index has the points of the generation. What changed since then is in the tail: its vectors are scanned, and hits
that it deletes or replaces are left out.
"""

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cbir.filters.conditions import Filter
from cbir.index.generation import Generation, with_published
from cbir.index.open_logs import OpenLog, OpenLogs, follow
from cbir.records import Hit, Readable, Vector, stored_hits
from cbir.stores.base import DEFAULT_PARAMS, SearchParams, StoreInfo
from cbir.stores.checks import best_hits, check_query
from cbir.stores.embedded.records import EmbeddedRecords, built_options
from cbir.stores.engines import ENGINES, EngineIndex, Found, rows_of
from cbir.stores.url import Location

if TYPE_CHECKING:
    from cbir.stores.embedded.tail_codes import TailCodes

_MORE = 4
"""So many times the share of dead points is asked for in addition."""
_SPARE = 32
"""An exact search compares so many more points by their stored vectors, if the index has them in half the precision."""
_SCANNED = 1_000_000
"""Up to so many numbers of the tail are compared with a query; of more, candidates are found by codes first."""
_CANDIDATES, _MORE_CANDIDATES = 3, 32
_FEWEST_DIMENSIONS = 128
"""With fewer numbers of a bit each, too many of the best hits are missing among the candidates."""
_MANY_QUERIES = 16
"""So many queries at once are compared with all vectors in less time than one by one."""


class EmbeddedStore(EmbeddedRecords):
    """A published collection of an index folder, searched with one of its engines; see `cbir.stores.base.Store`."""

    def __init__(self, location: Location, collection: str, logs: OpenLogs, published: Generation):
        built = built_options(location, collection, published.manifest.engines)
        with ThreadPoolExecutor(1) as pool:
            checked = pool.submit(published.require_intact, location.name)
            opened = logs.get(collection, current=True)  # compares the checksums of the log's frames
            checked.result()
        generation = opened.base
        if generation.folder != published.folder:  # another process has published meanwhile
            built = built_options(location, collection, generation.manifest.engines)
            generation.require_intact(location.name)
        engine = ENGINES[location.url.scheme]
        options = {**engine.options, **built, **location.url.options}
        folder = generation.folder / location.name
        self.index: EngineIndex = engine.load().open_index(folder, opened.log.base, options)
        self.info = StoreInfo(
            url=location.url.text,
            collection=collection,
            generation=generation.folder.name,
            model=generation.manifest.model,
            count=0,
            indexed=self.index.indexed,
            access=self.index.access,
            options=options,
            dataset=generation.manifest.dataset,
            source=generation.manifest.source,
            filtering=self.index.filtering,
        )
        self._codes: TailCodes | None = None
        self._show(opened)

    def _show(self, opened: OpenLog) -> None:
        super()._show(opened)
        log, latest = opened.log, opened.latest
        self._is_whole = not log.dead and not len(log.tail)
        readable: Readable = log.base if self._is_whole else log
        self._hits = partial(stored_hits, readable)
        self.info = replace(
            self.info,
            count=len(log),
            indexed=max(0, self.index.indexed - log.dead),
            commit=latest.commit,
            tail=len(log.tail),
            dead=log.dead,
            segments=len(latest.tail),
            bytes=sum(record.size for record in (*latest.manifest.files.values(), *latest.tail.values())),
        )

    def followed(self, root: Path) -> "EmbeddedStore | None":
        """Return the collection as it is published now, with the same index; None if that is not possible.

        The time it takes depends on the change alone.
        """
        opened = with_published(root, self.info.collection, lambda now: follow(self._opened, now))
        if opened is None:
            return None
        store = copy.copy(self)
        store._show(opened)
        return store

    @property
    def is_behind(self) -> bool:
        """True if a newer generation has more of the points in its index."""
        return self._opened.is_behind

    most_hits = None

    def search(
        self,
        vectors: Vector,
        k: int,
        *,
        params: SearchParams = DEFAULT_PARAMS,
        filter: Filter = (),
        min_score: float | None = None,
    ) -> list[list[Hit]]:
        check_query(vectors, k, self.info.model.dimension)
        log, count = self.log, self.info.count
        if not count or not len(vectors):
            return [[] for _ in vectors]
        hits = best_hits(  # a lambda, since the annotations of a function would be evaluated in each search
            lambda chosen, wanted: rows_of(self._found(vectors[chosen], min(wanted, count), params, filter)),
            k,
            log.id,
            self._hits,
        )
        return hits if min_score is None else [[hit for hit in row if hit.score >= min_score] for row in hits]

    def _found(self, vectors: Vector, k: int, params: SearchParams, filter: Filter) -> Found:
        """Return the k best points of each vector, and perhaps others, by their positions in the log."""
        if self._is_whole:
            return self._from_index(vectors, k, params, filter)
        start = len(self.log.base)
        if not len(self.log.tail):
            return self._in_index(vectors, k, params, filter)
        recent_scores, recent = self._in_tail(vectors, k, params, filter)
        if not start:
            return recent_scores, recent
        scores, positions = self._in_index(vectors, k, params, filter)
        return np.hstack([scores, recent_scores]), np.hstack([positions, recent + start])

    def _in_index(self, vectors: Vector, k: int, params: SearchParams, filter: Filter) -> Found:
        """Return the k best points of each vector in the index that are not deleted or replaced."""
        log, most = self.log, len(self.log.base)
        if not log.dead:
            return self._from_index(vectors, min(k, most), params, filter)
        wanted = min(most, k + 1 + _MORE * k * log.dead // most)
        while True:
            scores, positions = self._from_index(vectors, wanted, params, filter)
            kept = (positions >= 0) & log.alive[positions]
            lacking = (kept.sum(axis=1) < k) & (positions >= 0).all(axis=1)
            if wanted == most or not lacking.any():
                return scores, np.where(kept, positions, -1)
            wanted = min(most, 2 * wanted)

    def _from_index(self, vectors: Vector, k: int, params: SearchParams, filter: Filter) -> Found:
        """Return the k best points of each vector in the index, or more, with the scores of the stored vectors."""
        index, log = self.index, self.log.base
        if not index.error:
            return index.search(vectors, k, params, filter)
        wanted = min(len(log), k + _SPARE) if params.exact else k
        while True:
            rough, positions = index.search(vectors, wanted, params, filter)
            rows = zip(vectors, positions.tolist(), strict=True)
            scores = np.array([log.scores(vector, row) for vector, row in rows], np.float32)
            if not params.exact or wanted == len(log):
                return scores, positions
            gap = np.sort(scores, axis=1)[:, -k] - rough.min(axis=1)  # by which the k-th beats any point not found
            if ((gap > index.error) | (positions < 0).any(axis=1)).all():
                return scores, positions
            wanted = min(len(log), 2 * wanted)

    def _in_tail(self, vectors: Vector, k: int, params: SearchParams, filter: Filter) -> Found:
        """Return the k best points of each vector in the tail."""
        log, places = self.log, None
        if filter:
            places = np.flatnonzero(log.table.mask(filter)[len(log.base) :])
        count = len(log.tail) if places is None else len(places)
        if not count:
            return np.empty((len(vectors), 0), np.float32), np.empty((len(vectors), 0), np.int64)
        wanted = _CANDIDATES * k + _MORE_CANDIDATES
        large = log.recent.size > _SCANNED and log.base.dimension >= _FEWEST_DIMENSIONS and 2 * wanted < count
        if large and len(vectors) < _MANY_QUERIES and places is None and not params.exact:
            near = zip(vectors, self._tail_codes().nearest(vectors, wanted), strict=True)
            rows = [_best(vector[None], log.recent, k, likely) for vector, likely in near]
            scores, positions = (np.concatenate(arrays) for arrays in zip(*rows, strict=True))
            return scores, positions
        return _best(vectors, log.recent, k, places)

    def _tail_codes(self) -> "TailCodes":
        """Return the codes of the tail. Those that it had before the last change are kept."""
        from cbir.stores.embedded.tail_codes import TailCodes

        codes = self._codes
        if codes is None or codes.rows is not self.log.tail.rows:
            codes = self._codes = TailCodes(self.log.tail.rows, self.log.recent, codes)
        return codes

    def close(self) -> None:
        self.index.close()


def _best(vectors: Vector, among: Vector, k: int, places: np.ndarray | None) -> Found:
    """Return the scores of the k best of some vectors, and their positions: (Q, k) each, or fewer.

    Those at `places` are compared, None: all.
    """
    import faiss  # as fast as NumPy's product, whose threads wait for each other if the machine is busy

    chosen = among if places is None else among[places]
    k = min(k, len(chosen))
    scores, best = faiss.knn(np.ascontiguousarray(vectors), chosen, k, metric=faiss.METRIC_INNER_PRODUCT)
    return scores, best if places is None else places[best]
