"""The points of a collection as they are now: those of a generation's log, and the changes since, called the tail.

The tail is the log of what was added, replaced and deleted since the generation was built. It is short, so that a
change costs what changed.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain, compress

import numpy as np
import numpy.typing as npt

from cbir.filters.evaluate import PayloadTable
from cbir.index.vector_log import Segment, VectorLog
from cbir.records import Payload, Point, Vector, id_bytes

Alive = npt.NDArray[np.bool_]


class LiveLog:
    """A base log and its tail, open for reading. Safe to share between threads.

    Positions 0 to len(base) - 1 are those of the base, also for points that the tail deletes or replaces; those of the
    tail follow. `alive` says which positions count, bool (positions,).
    """

    def __init__(self, base: VectorLog, tail: Sequence[Segment] = (), before: "LiveLog | None" = None):
        """Open a base with its tail, which begins with that of the log `before` on the same base."""
        self.base, self.tail = base, VectorLog(tail, base.dimension)
        fresh = VectorLog(tail[len(before.tail.segments) :], base.dimension) if before else self.tail
        alive = before.alive[: len(base)].copy() if before else np.ones(len(base), bool)
        replaced = base.positions(np.concatenate([fresh.ids, fresh.deleted]))
        alive[replaced[replaced >= 0]] = False
        self.alive: Alive = np.concatenate([alive, np.ones(len(self.tail), bool)])
        self._count = int(self.alive.sum())

    def followed_by(self, segments: Sequence[Segment]) -> "LiveLog":
        """Return the points after more changes, in time that depends on the tail alone. Both logs can be used."""
        return LiveLog(self.base, [*self.tail.segments, *segments], self)

    def __len__(self) -> int:
        return self._count

    @property
    def dead(self) -> int:
        """The number of points of the base that the tail deletes or replaces."""
        return len(self.alive) - self._count

    @cached_property
    def recent(self) -> Vector:
        """The vectors of the tail, float32 (n, D)."""
        return self.tail.vectors()

    @cached_property
    def table(self) -> PayloadTable:
        """The payloads by column, for all positions. It takes seconds to read for a million points."""
        if not self.dead and not len(self.tail):
            return self.base.table
        return PayloadTable(map(self.tail.payload, range(len(self.tail))), self.base.table, self.alive)

    @cached_property
    def ids(self) -> np.ndarray:
        """The ids of all positions, 16 bytes each."""
        return np.concatenate([self.base.ids, self.tail.ids])

    @cached_property
    def order(self) -> npt.NDArray[np.int64]:
        """The positions that count, sorted by id."""
        base, tail = self.base, self.tail
        places = np.searchsorted(base.ids, tail.ids[tail.order], sorter=base.order)
        order = np.insert(base.order, places, tail.order + len(base))
        kept: npt.NDArray[np.int64] = order[self.alive[order]]
        return kept

    @cached_property
    def sorted_ids(self) -> np.ndarray:
        """The sorted ids of the points, 16 bytes each."""
        return self.ids[self.order]

    def after(self, point_id: str | None) -> npt.NDArray[np.int64]:
        """Return the positions of the points with larger ids, sorted by id."""
        if point_id is None:
            return self.order
        wanted = np.frombuffer(id_bytes(point_id), "V16")
        return self.order[int(np.searchsorted(self.sorted_ids, wanted, "right")[0]) :]

    def position(self, point_id: str) -> int | None:
        """Return the position of the point with this id, or None."""
        found = self.tail.position(point_id)
        if found is not None:
            return found + len(self.base)
        found = self.base.position(point_id)
        return found if found is not None and self.alive[found] else None

    def _part(self, position: int) -> tuple[VectorLog, int]:
        start = len(self.base)
        return (self.base, position) if position < start else (self.tail, position - start)

    def id(self, position: int) -> str:
        """Return the id of the point at `position`."""
        log, row = self._part(position)
        return log.id(row)

    def payload(self, position: int) -> Payload:
        """Return the payload of the point at `position`."""
        log, row = self._part(position)
        return log.payload(row)

    def thumbnail(self, position: int) -> bytes:
        """Return the thumbnail of the point at `position`."""
        log, row = self._part(position)
        return log.thumbnail(row)

    def vector(self, position: int) -> Vector:
        """Return the (D,) vector of the point at `position`."""
        log, row = self._part(position)
        return log.vector(row)

    def point(self, position: int) -> Point:
        """Return the point at `position`."""
        log, row = self._part(position)
        return log.point(row)

    def find(self, ids: Sequence[str]) -> dict[str, Point]:
        """Return those of the points that are in the log, by id."""
        positions = ((point_id, self.position(point_id)) for point_id in ids)
        return {point_id: self.point(position) for point_id, position in positions if position is not None}

    def stamp(self, position: int) -> tuple[str, str]:
        """Return the version and the payload digest of the point at `position`."""
        log, row = self._part(position)
        return log.stamp(row)

    def living(self) -> list[int]:
        """Return the positions that count."""
        found: list[int] = np.flatnonzero(self.alive).tolist()
        return found

    def vectors(self) -> Vector:
        """Return a copy of the (n, D) vectors of the points, in the order of their positions."""
        found: Vector = np.concatenate([self.base.vectors(), self.recent])
        return found[self.alive] if self.dead else found

    def points(self) -> Iterator[Point]:
        """Yield every point, in order of position."""
        return compress(chain(self.base.points(), self.tail.points()), self.alive)

    def described(self) -> Iterator[tuple[str, Payload]]:
        """Yield (id, payload) of every point."""
        for position in self.living():
            yield self.id(position), self.payload(position)
