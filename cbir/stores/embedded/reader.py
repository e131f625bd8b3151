"""An embedded collection open for reading: a published generation's log, one of its indexes, and the tail.

The index has the points of the generation. What changed since then is in the tail: its vectors are scanned, and hits
that it deletes or replaces are left out.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cbir.errors import UsageError
from cbir.filters.conditions import FieldKind, Filter, Value, filterable_fields
from cbir.index import layout
from cbir.index.generation import Generation, IndexRecord, open_generation, with_published
from cbir.index.open_logs import OpenLog, OpenLogs, follow
from cbir.records import Entry, Hit, Payload, Point, Vector
from cbir.stores.base import DEFAULT_PARAMS, SearchParams, StoreInfo
from cbir.stores.checks import best_hits, check_id, check_query, ranked
from cbir.stores.engines import ENGINES, EngineIndex
from cbir.stores.url import Location

_MORE = 4


class EmbeddedStore:
    """A published collection of an index folder, searched with one of its engines; see `cbir.stores.base.Store`."""

    def __init__(self, location: Location, collection: str, logs: OpenLogs):
        checked = open_generation(location.root, collection)
        _built_options(location, collection, checked.manifest.engines)
        checked.require_intact(layout.LOG, location.name)
        opened = logs.get(collection, current=True)
        generation = opened.base
        if generation.folder != checked.folder:  # another process has published meanwhile
            generation.require_intact(layout.LOG, location.name)
        built = _built_options(location, collection, generation.manifest.engines)
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
        self._show(opened)

    def _show(self, opened: OpenLog) -> None:
        log, latest = opened.log, opened.latest
        self._opened, self.log = opened, log
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
        count = self.info.count
        if not count:
            return [[] for _ in vectors]

        def ask(vectors: Vector, k: int) -> list[list[Hit]]:
            found = self._in_index(vectors, min(k, count), params, filter)
            if not len(self.log.tail):
                return found
            both = zip(found, self._in_tail(vectors, min(k, count), filter), strict=True)
            return [ranked([*indexed, *recent])[:k] for indexed, recent in both]

        return best_hits(ask, vectors, k, min_score)

    def _in_index(self, vectors: Vector, k: int, params: SearchParams, filter: Filter) -> list[list[Hit]]:
        """Return the k best hits of each vector in the index that are not deleted or replaced."""
        log, most = self.log, len(self.log.base)
        if not log.dead:
            return self.index.search(vectors, min(k, most), params, filter) if most else [[] for _ in vectors]
        kept: list[list[Hit]] = [[] for _ in vectors]
        lacking, wanted = list(range(len(vectors))), min(most, k + _MORE)
        while lacking:
            answers = dict(zip(lacking, self.index.search(vectors[lacking], wanted, params, filter), strict=True))
            for i, hits in answers.items():
                kept[i] = [hit for hit in hits if hit.id not in log.dead_ids]
            lacking = [i for i, hits in answers.items() if len(kept[i]) < k and len(hits) == wanted < most]
            wanted = min(most, 2 * wanted)
        return [ranked(hits)[:k] for hits in kept]

    def _in_tail(self, vectors: Vector, k: int, filter: Filter) -> list[list[Hit]]:
        """Return the k best hits of each vector in the tail."""
        tail, recent, places = self.log.tail, self.log.recent, np.arange(len(self.log.tail))
        if filter:
            places = np.flatnonzero(self.log.table.mask(filter)[len(self.log.base) :])
            recent = recent[places]
        if not len(places):
            return [[] for _ in vectors]
        import faiss  # as fast as NumPy's product, whose threads wait for each other if the machine is busy

        k = min(k, len(places))
        scores, best = faiss.knn(np.ascontiguousarray(vectors), recent, k, metric=faiss.METRIC_INNER_PRODUCT)
        rows = zip(places[best].tolist(), scores.tolist(), strict=True)
        return [[Hit(tail.id(i), tail.payload(i), score) for i, score in zip(*row, strict=True)] for row in rows]

    def vectors(self, point_ids: Sequence[str]) -> list[Vector | None]:
        positions = map(self.log.position, point_ids)
        return [None if position is None else self.log.vector(position) for position in positions]

    def count(self, filter: Filter = ()) -> int:
        return int(self.log.table.mask(filter).sum()) if filter else self.info.count

    def facet(self, field: str, filter: Filter = (), limit: int = 100) -> list[tuple[Value, int]]:
        return self.log.table.facet(field, filter)[:limit]

    def fields(self) -> dict[str, FieldKind]:
        return filterable_fields(self.log.table.kinds)

    def scroll(self, filter: Filter = (), after: str | None = None, limit: int = 1000) -> list[Entry]:
        check_id(after)
        log = self.log
        positions = log.after(after)
        if filter:
            positions = positions[log.table.mask(filter)[positions]]
        return [Entry(log.id(position), log.payload(position)) for position in positions[:limit].tolist()]

    def payloads(self, point_ids: Sequence[str]) -> list[Payload | None]:
        positions = map(self.log.position, point_ids)
        return [None if position is None else self.log.payload(position) for position in positions]

    def thumbnails(self, point_ids: Sequence[str]) -> list[bytes | None]:
        positions = map(self.log.position, point_ids)
        return [None if position is None else self.log.thumbnail(position) for position in positions]

    def sample(self, count: int, seed: int) -> list[str]:
        living = self.log.living()
        chosen = np.random.default_rng(seed).permutation(len(living))[:count]
        return [self.log.id(living[index]) for index in chosen.tolist()]

    def matrix(self) -> tuple[list[str], Vector]:
        return [self.log.id(position) for position in self.log.living()], self.log.vectors()

    def points(self) -> Iterator[Point]:
        return self.log.points()

    def model(self) -> Path | None:
        folder = self._opened.latest.folder.parent  # a newer generation has the same model

        def find(generation: Generation) -> Path:
            generation.require_intact(layout.MODEL)
            return generation.folder / layout.MODEL

        return with_published(folder.parent, folder.name, find)

    def close(self) -> None:
        self.index.close()


def _built_options(location: Location, collection: str, engines: dict[str, IndexRecord]) -> dict[str, str]:
    """Return the options that an index was built with; raise `UsageError` if the URL has others."""
    record = engines.get(location.name)
    if record is None or record.kind != location.url.scheme:
        existing = ", ".join(f"{name} ({other.kind})" for name, other in engines.items())
        raise UsageError(
            f"collection {collection} in {location.root} has no {location.url.scheme} index {location.name!r}, it has"
            f" {existing}; `cbir-ingest SOURCE --store {location.url.text}` adds it without embedding anything again"
        )
    built = {**ENGINES[record.kind].build_options, **record.options}
    for name, value in location.url.options.items():
        if built.get(name, value) != value:
            raise UsageError(
                f"{location.url.text}: this index was built with {name}={built[name]}; leave the option out, or"
                f" build it again with `cbir-ingest SOURCE --store '{location.url.text}'`"
            )
    return built
