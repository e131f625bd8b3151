"""The ids in a store, to find what is new, changed or missing in a source."""

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice
from typing import Protocol

import numpy as np

from cbir.index.live_log import LiveLog
from cbir.records import id_bytes, id_text

ROW = np.dtype([("id", "S16"), ("version", "u8"), ("digest", "u8")])
"""A point as `PointIds` needs it: the id's 16 bytes, and the fingerprints of version and payload digest."""

_CHUNK = 100_000
_LATEST = 1024


class PointIds(Protocol):
    """The ids in a store. Several threads may query it; only one may call `mark`."""

    @property
    def ids(self) -> np.ndarray:
        """The sorted ids, of 16 bytes each."""

    def rows(self) -> np.ndarray:
        """Return a `ROW` of each point, in the order of ids."""

    def __len__(self) -> int: ...

    def __contains__(self, point_id: str) -> bool: ...

    def has(self, point_id: str, version: str, digest: str | None) -> bool:
        """Return True if the point is stored with this version, or with this payload digest (None if not known yet).

        A point whose payload was edited may have the digest of the original payload as its version.
        """

    def mark(self, point_id: str) -> None:
        """Mark a point as still in the source."""

    def unmarked(self) -> list[str]:
        """Return the ids that were never marked: the source has lost them."""

    def count_unmarked(self) -> int:
        """Return the number of these ids, without making a text of each."""

    def without(self, others: "PointIds") -> list[str]:
        """Return the ids that are not among others."""


class LogIds:
    """The ids in a log, which is asked for each; see `PointIds`. Nothing is read in advance."""

    def __init__(self, log: LiveLog):
        self._log = log
        self._marked = ~log.alive
        self._position = lru_cache(_LATEST)(log.position)  # an image is looked up several times in a row

    @property
    def ids(self) -> np.ndarray:
        return self._log.sorted_ids.view("S16")

    def rows(self) -> np.ndarray:
        rows = np.empty(len(self), ROW)
        stamps = [tuple(map(fingerprint, self._log.stamp(position))) for position in self._log.order.tolist()]
        rows["id"] = self.ids
        rows["version"], rows["digest"] = np.array(stamps, np.uint64).reshape(-1, 2).T
        return rows

    def __len__(self) -> int:
        return len(self._log)

    def __contains__(self, point_id: str) -> bool:
        return self._position(point_id) is not None

    def has(self, point_id: str, version: str, digest: str | None) -> bool:
        position = self._position(point_id)
        if position is None:
            return False
        stored = self._log.stamp(position)
        return bool((version and version == stored[0]) or (digest and digest in stored))

    def mark(self, point_id: str) -> None:
        position = self._position(point_id)
        if position is not None:
            self._marked[position] = True

    def unmarked(self) -> list[str]:
        return _texts(self._log.ids[~self._marked].view("S16"))

    def count_unmarked(self) -> int:
        return int(np.count_nonzero(~self._marked))

    def without(self, others: PointIds) -> list[str]:
        return _texts(self.ids[~np.isin(self.ids, others.ids)])


class StoredIds:
    """Ids with the fingerprints of versions and payload digests, in 33 bytes per point; see `PointIds`."""

    def __init__(self, rows: np.ndarray):
        order = np.argsort(rows["id"])
        # contiguous columns: NumPy would copy a strided one for every search
        self.ids, self._versions, self._digests = (rows[name][order] for name in ("id", "version", "digest"))
        self._marked = np.zeros(len(rows), bool)

    @classmethod
    def of(cls, rows: Iterable[tuple[bytes, str, str]]) -> "StoredIds":
        """Return the stored ids of (the id's 16 bytes, version or "", payload digest) of each point."""
        parts = [np.empty(0, ROW)]
        stream = ((point_id, fingerprint(version), fingerprint(digest)) for point_id, version, digest in rows)
        while part := list(islice(stream, _CHUNK)):
            parts.append(np.array(part, ROW))
        return cls(np.concatenate(parts))

    def rows(self) -> np.ndarray:
        rows = np.empty(len(self), ROW)
        for name, column in (("id", self.ids), ("version", self._versions), ("digest", self._digests)):
            rows[name] = column
        return rows

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, point_id: str) -> bool:
        return self._index(point_id) is not None

    def has(self, point_id: str, version: str, digest: str | None) -> bool:
        i = self._index(point_id)
        if i is None:
            return False
        return bool(
            (version and self._versions[i] == fingerprint(version))
            or (digest and fingerprint(digest) in (self._digests[i], self._versions[i]))
        )

    def mark(self, point_id: str) -> None:
        i = self._index(point_id)
        if i is not None:
            self._marked[i] = True

    def unmarked(self) -> list[str]:
        return _texts(self.ids[~self._marked])

    def count_unmarked(self) -> int:
        return int(np.count_nonzero(~self._marked))

    def without(self, others: PointIds) -> list[str]:
        return _texts(self.ids[~np.isin(self.ids, others.ids)])

    def _index(self, point_id: str) -> int | None:
        if not len(self.ids):
            return None
        wanted = np.frombuffer(id_bytes(point_id), "S16")
        i = int(np.searchsorted(self.ids, wanted)[0])
        return i if i < len(self.ids) and self.ids[i] == wanted[0] else None


def _texts(ids: np.ndarray) -> list[str]:
    return [id_text(stored) for stored in ids.tolist()]


def fingerprint(text: str) -> int:
    """Return 64 bits of a text's hash, 0 for an empty one."""
    hashed = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(hashed) if text else 0
