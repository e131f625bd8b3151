"""An embedded collection open for reading: a published generation's log and one of its indexes."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cbir.errors import UsageError
from cbir.filters.conditions import FieldKind, Filter, Value, filterable_fields
from cbir.index import layout
from cbir.index.generation import IndexRecord, open_generation
from cbir.index.vector_log import VectorLog
from cbir.records import Entry, Hit, Payload, Point, Vector
from cbir.stores.base import DEFAULT_PARAMS, SearchParams, StoreInfo
from cbir.stores.checks import best_hits, check_id, check_query
from cbir.stores.engines import ENGINES, EngineIndex
from cbir.stores.url import Location


class EmbeddedStore:
    """A published collection of an index folder, searched with one of its engines; see `cbir.stores.base.Store`."""

    def __init__(self, location: Location, collection: str):
        generation = open_generation(location.root, collection)
        built = _built_options(location, collection, generation.manifest.engines)
        engine = ENGINES[location.url.scheme]
        options = {**engine.options, **built, **location.url.options}
        self._generation = generation
        self.log: VectorLog = generation.log()
        generation.require_intact(location.name)
        self.index: EngineIndex = engine.load().open_index(generation.folder / location.name, self.log, options)
        self.info = StoreInfo(
            url=location.url.text,
            collection=collection,
            generation=generation.folder.name,
            model=generation.manifest.model,
            count=len(self.log),
            indexed=self.index.indexed,
            access=self.index.access,
            options=options,
            dataset=generation.manifest.dataset,
            source=generation.manifest.source,
            filtering=self.index.filtering,
        )

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
            return self.index.search(vectors, min(k, count), params, filter)

        return best_hits(ask, vectors, k, min_score)

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
        start = 0 if after is None else log.rank(after) + (log.position(after) is not None)
        positions = log.order[start:]
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
        chosen = np.random.default_rng(seed).permutation(len(self.log))[:count]
        return [self.log.id(int(position)) for position in chosen]

    def matrix(self) -> tuple[list[str], Vector]:
        return [self.log.id(position) for position in range(len(self.log))], self.log.vectors()

    def points(self) -> Iterator[Point]:
        return self.log.points()

    def model(self) -> Path | None:
        self._generation.require_intact(layout.MODEL)
        return self._generation.folder / layout.MODEL

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
