"""What a published collection of an index folder stores, read from its log: no index is opened.

The log has the points of the generation, and what changed since then.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cbir.errors import UsageError
from cbir.filters.conditions import FieldKind, Filter, Value, filterable_fields
from cbir.index import layout
from cbir.index.generation import Generation, IndexRecord, with_published
from cbir.index.open_logs import OpenLog, OpenLogs
from cbir.records import Entry, Payload, Point, Vector
from cbir.stores.checks import check_id
from cbir.stores.engines import ENGINES
from cbir.stores.url import Location


class EmbeddedRecords:
    """The points of a published collection; see `cbir.stores.base.Records`."""

    def __init__(self, location: Location, collection: str, logs: OpenLogs):
        opened = logs.get(collection, current=True)
        built_options(location, collection, opened.base.manifest.engines)
        self._show(opened)

    def _show(self, opened: OpenLog) -> None:
        self._opened, self.log = opened, opened.log

    def vectors(self, point_ids: Sequence[str]) -> list[Vector | None]:
        positions = map(self.log.position, point_ids)
        return [None if position is None else self.log.vector(position) for position in positions]

    def count(self, filter: Filter = ()) -> int:
        return int(self.log.table.mask(filter).sum()) if filter else len(self.log)

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


def built_options(location: Location, collection: str, engines: dict[str, IndexRecord]) -> dict[str, str]:
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
