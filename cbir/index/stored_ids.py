"""What a store holds already, in 33 bytes a point: enough to tell what a source has new, changed or lost."""

import hashlib
import uuid
from collections.abc import Iterable
from itertools import islice

import numpy as np

from cbir.records import id_bytes

_ROW = np.dtype([("id", "S16"), ("version", "u8"), ("digest", "u8")])
_ROWS_AT_ONCE = 100_000


class StoredIds:
    """Ids with the version and payload digest that are stored under them, the last two as 64-bit fingerprints.

    Safe to ask from several threads; `mark` is for one.
    """

    def __init__(self, rows: np.ndarray):
        order = np.argsort(rows["id"])
        # contiguous columns: numpy would copy a strided one for every search
        self._ids, self._versions, self._digests = (rows[name][order] for name in ("id", "version", "digest"))
        self._marked = np.zeros(len(rows), bool)

    @classmethod
    def of(cls, rows: Iterable[tuple[bytes, str, str]]) -> "StoredIds":
        """Return what these rows say: the id's 16 bytes, version ("" for none) and payload digest of each point."""
        parts = [np.empty(0, _ROW)]
        stream = iter(rows)
        while part := list(islice(stream, _ROWS_AT_ONCE)):
            table = np.empty(len(part), _ROW)
            table["id"] = np.frombuffer(b"".join(one for one, _, _ in part), "S16")
            table["version"] = [_fingerprint(version) for _, version, _ in part]
            table["digest"] = [_fingerprint(digest) for _, _, digest in part]
            parts.append(table)
        return cls(np.concatenate(parts))

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, point_id: str) -> bool:
        return self._at(point_id) is not None

    def has(self, point_id: str, version: str, digest: str | None) -> bool:
        """Return True if the point is stored with this version, or with this payload digest (None: not known yet).

        A point that was changed here has the digest of what its source had for a version.
        """
        at = self._at(point_id)
        if at is None:
            return False
        return bool(
            (version and self._versions[at] == _fingerprint(version))
            or (digest and _fingerprint(digest) in (self._digests[at], self._versions[at]))
        )

    def mark(self, point_id: str) -> None:
        """Remember that the source still has this point."""
        at = self._at(point_id)
        if at is not None:
            self._marked[at] = True

    def unmarked(self) -> list[str]:
        """Return the ids that were never marked: what the source has no more."""
        return [str(uuid.UUID(bytes=one.ljust(16, b"\0"))) for one in self._ids[~self._marked].tolist()]

    def _at(self, point_id: str) -> int | None:
        if not len(self._ids):
            return None
        wanted = np.frombuffer(id_bytes(point_id), "S16")
        at = int(np.searchsorted(self._ids, wanted)[0])
        return at if at < len(self._ids) and self._ids[at] == wanted[0] else None


def _fingerprint(text: str) -> int:
    return (
        int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()) if text else 0
    )
