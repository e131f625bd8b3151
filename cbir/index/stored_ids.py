"""The ids in a store, in 33 bytes per point: enough to find what is new, changed or missing in a source."""

import hashlib
from collections.abc import Iterable
from itertools import islice

import numpy as np

from cbir.records import id_bytes, id_text

_ROW = np.dtype([("id", "S16"), ("version", "u8"), ("digest", "u8")])
_CHUNK = 100_000


class StoredIds:
    """Ids with the fingerprints of their points' versions and payload digests.

    Several threads may query it; only one may call `mark`.
    """

    def __init__(self, rows: np.ndarray):
        order = np.argsort(rows["id"])
        # contiguous columns: NumPy would copy a strided one for every search
        self._ids, self._versions, self._digests = (rows[name][order] for name in ("id", "version", "digest"))
        self._marked = np.zeros(len(rows), bool)

    @classmethod
    def of(cls, rows: Iterable[tuple[bytes, str, str]]) -> "StoredIds":
        """Return the stored ids of (the id's 16 bytes, version or "", payload digest) of each point."""
        parts = [np.empty(0, _ROW)]
        stream = ((point_id, fingerprint(version), fingerprint(digest)) for point_id, version, digest in rows)
        while part := list(islice(stream, _CHUNK)):
            parts.append(np.array(part, _ROW))
        return cls(np.concatenate(parts))

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, point_id: str) -> bool:
        return self._index(point_id) is not None

    def has(self, point_id: str, version: str, digest: str | None) -> bool:
        """Return True if the point is stored with this version, or with this payload digest (None if not known yet).

        A point whose payload was edited may have the digest of the original payload as its version.
        """
        i = self._index(point_id)
        if i is None:
            return False
        return bool(
            (version and self._versions[i] == fingerprint(version))
            or (digest and fingerprint(digest) in (self._digests[i], self._versions[i]))
        )

    def mark(self, point_id: str) -> None:
        """Mark a point as still in the source."""
        i = self._index(point_id)
        if i is not None:
            self._marked[i] = True

    def unmarked(self) -> list[str]:
        """Return the ids that were never marked: the source has lost them."""
        return _texts(self._ids[~self._marked])

    def without(self, others: "StoredIds") -> list[str]:
        """Return the ids that are not among others."""
        return _texts(self._ids[~np.isin(self._ids, others._ids)])

    def _index(self, point_id: str) -> int | None:
        if not len(self._ids):
            return None
        wanted = np.frombuffer(id_bytes(point_id), "S16")
        i = int(np.searchsorted(self._ids, wanted)[0])
        return i if i < len(self._ids) and self._ids[i] == wanted[0] else None


def _texts(ids: np.ndarray) -> list[str]:
    return [id_text(stored) for stored in ids.tolist()]


def fingerprint(text: str) -> int:
    """Return 64 bits of a text's hash, 0 for an empty one."""
    hashed = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(hashed) if text else 0
